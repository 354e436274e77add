"""An old run as this start understands it: its files, its settings, its place; and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from unbroken import DataInvalid, SettingsInvalid
from unbroken.checks import Decision, Report
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.model.base import BaseWeights, check_base, frozen_rows_of, read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.rescue.old_checkpoint import Geometry
from unbroken_tts.rescue.old_directory import OldRun, find_best
from unbroken_tts.rescue.old_geometry import geometry_of
from unbroken_tts.rescue.old_position import OldPlace, place_in_data
from unbroken_tts.rescue.old_schedule import OldSchedule, schedule_of
from unbroken_tts.rescue.rescue_checks import EARLIER_SCHEDULE_AGREES, compare_with_settings
from unbroken_tts.rescue.suffered import suffered
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.base_rows import BaseRows, find_base_tokenizer, prove_rows
from unbroken_tts.train.console import Console
from unbroken_tts.train.execution import Execution, plan_execution
from unbroken_tts.train.inputs import Inputs, read_inputs
from unbroken_tts.train.old_settings import old_settings, with_old_batch

FROZEN_BY_THE_EARLIER = 12_000
"""Rows that the earlier trainer froze, whatever the base, where the vocabulary was larger."""
AUTOCAST: Final = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""How the earlier trainer called what is computed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldTraining:
    """An old run, understood: what there is, how it was trained, and where it goes on."""

    run: OldRun
    cut: Geometry
    cut_known: str
    """Where the cut is known from."""
    schedule: OldSchedule
    curve: tuple[int, int]
    """Warm-up and length, in updates, of the curve that acts."""
    base: BaseWeights | None
    """The base checkpoint, if it is there."""
    rows: BaseRows
    """What was proved of the base's rows."""
    frozen: int
    """Text rows that are the base's and stay so."""
    place: OldPlace
    settings: TrainSettings
    """With which it was trained."""
    inputs: Inputs
    execution: Execution

    @property
    def samples_then(self) -> int:
        """Samples of the training data when the file was written, as far as it says."""
        return self.run.best.old.samples or len(self.inputs.train.pairs)


def understand(settings: TrainSettings, console: Console, place: Path, cache: Path) -> OldTraining:
    """Find the best whole file, and what of its training follows from it and from the settings.

    Args:
        settings: The settings of this start.
        console: Receives notes and progress.
        place: The earlier trainer's output directory, or one of its files.
        cache: Directory in which results about the arrays are cached.

    Raises:
        NoUsableCheckpoint: No file is whole.
        DataInvalid: The data, the base or the tokenizer can't be used.
        SettingsInvalid: Files, configuration, tokenizer and flags don't belong together.
    """
    if settings.mix and settings.rescue_position == "count":
        raise SettingsInvalid(
            f"--mix {settings.mix} and --rescue-position count were both given.",
            "The old run's epoch had other samples than one with a mix, so its samples can't be counted "
            "in it.",
            "Use --rescue-position next-epoch: the mix begins with the next epoch.",
        )
    config = GptConfig.from_yaml(settings.config)
    tokenizer = open_tokenizer(settings.tokenizer)
    vocabulary = tokenizer.vocabulary
    with console.progress("Reading the old files", total=1):
        run = find_best(place, config, vocabulary)
    old = run.best.old
    inputs = read_inputs(settings, console, cache, None, is_resumed=False)
    samples = old.samples or len(inputs.train.pairs)
    asked = (settings.batch_size, settings.grad_accumulation)
    cut, cut_known = geometry_of(old, run.readable, samples, asked)
    total = settings.max_steps or cut.total(samples, settings.epochs)
    schedule = schedule_of(old, run.readable, settings.warmup_steps, total)
    curve = _curve(settings, schedule)
    base = _base(settings, config, vocabulary)
    rows = _rows(settings, base, tokenizer)
    return OldTraining(
        run=run,
        cut=cut,
        cut_known=cut_known,
        schedule=schedule,
        curve=curve,
        base=base,
        rows=rows,
        frozen=rows.frozen,
        place=place_in_data(
            settings.rescue_position, old, cut, len(inputs.train.pairs), cut.effective
        ),
        settings=old_settings(settings, old, *curve),
        inputs=inputs,
        execution=_execution(settings, console, cut),
    )


def _base(settings: TrainSettings, config: GptConfig, vocabulary: int) -> BaseWeights | None:
    """Read the base checkpoint; the old run goes on without one, but not with one of another model."""
    path = Path(settings.base_checkpoint)
    if not path.is_file():
        if "base_checkpoint" in settings.model_fields_set and str(path) != "none":
            raise DataInvalid(
                f"The base checkpoint {path} is not there.",
                "The rows of its vocabulary are those that must not move.",
                "Name the gpt.pth of the old run, or `--base-checkpoint none` to do without.",
            )
        return None
    base = read_base(path)
    check_base(base, base.config_for(config), vocabulary)
    return base


def _rows(settings: TrainSettings, base: BaseWeights | None, tokenizer: Tokenizer) -> BaseRows:
    """Prove which rows are the base's; without a base, those that the earlier trainer froze are."""
    if base is not None:
        path = Path(settings.base_checkpoint)
        found = find_base_tokenizer(settings, path, base, tokenizer, None)
        return prove_rows(settings, base, base.vocabulary, found, tokenizer)
    opens = settings.train_base_rows
    frozen = frozen_rows_of(FROZEN_BY_THE_EARLIER, tokenizer.vocabulary, train_base_rows=opens)
    return BaseRows(plan=None, frozen=frozen, facts={"proved": False, "frozen": frozen})


def _curve(settings: TrainSettings, schedule: OldSchedule) -> tuple[int, int]:
    """Return warm-up and length: those that give the recorded rate, unless others were accepted."""
    if schedule.implied is not None and EARLIER_SCHEDULE_AGREES.id not in settings.accept:
        return schedule.implied
    return schedule.warmup, schedule.total


def _execution(settings: TrainSettings, console: Console, cut: Geometry) -> Execution:
    """Choose the hardware for the old run's effective batch; the resume compares it with the flags."""
    settings = with_old_batch(settings, cut.batch)
    if settings.batch_size * settings.grad_accumulation != cut.effective:
        settings = settings.model_copy(update={"grad_accumulation": 0})
    return plan_execution(settings, console, {"order": {"effective_batch": cut.effective}})


def lines_about(training: OldTraining, how: str) -> list[str]:
    """Return what is told of an old run: the file, what it suffered, and where it goes on.

    Args:
        training: The run.
        how: --rescue-position.
    """
    old, place, curve = training.run.best.old, training.place, training.curve
    told = suffered(
        training.run, training.cut, training.samples_then, curve, training.base, training.frozen
    )
    stands = (
        f"Old run: {old.path}, step {old.step}, epoch {old.epoch} with {old.batch_idx} micro-batches "
        f"done, steps of {training.cut} samples ({training.cut_known})"
    )
    goes_on = (
        f"Goes on at step {old.step + 1} of {curve[1]}, in epoch {place.position.epoch}, with learning "
        f"rate {old.rate:.4g} (--rescue-position {how}: {place})"
    )
    return [stands, *(f"  {each}" for each in told), goes_on, *_notes(training)]


def _notes(training: OldTraining) -> list[str]:
    old, found = training.run.best.old, []
    precision = training.execution.precision.precision
    if old.precision not in {None, AUTOCAST[precision]}:
        found.append(f"NOTE: the old run computed in {old.precision}, this one in {precision}")
    there, here = PurePosixPath(old.tokenizer or ""), training.inputs.tokenizer.path
    if old.tokenizer and there.name != here.name:
        found.append(
            f"NOTE: the old run's tokenizer was {there}, now it is {here}: that they have the same "
            "pieces in the same order can't be proved, the old file has no digest of it"
        )
    if old.scaler is not None and not training.execution.precision.has_scaler:
        found.append("NOTE: the old run scaled its loss; in this precision there is no scaler")
    if training.rows.facts.get("is_extension", True):
        found += training.rows.notes
    else:
        found.append(
            f"WARNING: {here} is no extension of the base's tokenizer: only its first "
            f"{training.rows.facts['same']} pieces are the base's. Nothing is frozen"
        )
    if training.base is None and training.frozen:
        found.append(
            f"NOTE: no base checkpoint was named; the first {training.frozen} text rows are frozen, "
            "as the earlier trainer meant them to be"
        )
    if old.step >= training.curve[1]:
        found.append(
            f"NOTE: the old run is complete: {old.step} of {training.curve[1]} steps. To train "
            "longer, give more --epochs or --max-steps; the learning rate then leaves its curve"
        )
    return found


def compare(training: OldTraining, accepted: tuple[str, ...]) -> tuple[Report, Decision]:
    """Compare the rate and the number of samples in the file with those of this start."""
    old, schedule = training.run.best.old, training.schedule
    recorded: dict[str, object] = {"rate": schedule.recorded}
    given: dict[str, object] = {"rate": schedule.recorded if schedule.agrees else schedule.computed}
    if old.samples is not None:
        recorded["samples"] = old.samples
        given["samples"] = len(training.inputs.train.pairs)
    return compare_with_settings(recorded, given, accepted, has_curve=schedule.implied is not None)
