"""Makes a run of this trainer out of a file of the earlier one: its checkpoint at the same step.

1. The best whole file is found, and what it says compared with the settings and the manifests.
2. What the old run suffered is told, and where it goes on.
3. A new run takes weights, moments, counters and schedule in, and saves them as a checkpoint.

The start that follows resumes that checkpoint as any other, with every check. The old files are only
read.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbroken import ResumeRefused, Run, RunDirectory, SettingsInvalid, atomic_write, find_source
from unbroken.checks import Decision, Report
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.hardware import memory_need, require_memory
from unbroken_tts.model.base import load_base
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.rescue.base_rows import restored
from unbroken_tts.rescue.moments import load_moments
from unbroken_tts.rescue.old_directory import require_old_files
from unbroken_tts.rescue.rescue_checks import EARLIER_SCHEDULE_AGREES
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.building import DTYPES, Built, build
from unbroken_tts.train.console import Console
from unbroken_tts.train.initial_weights import (
    InitialWeights,
    keep_untrained_encoders,
    parameter_numbers,
    require_writable,
)
from unbroken_tts.train.old_run import UNFINISHED
from unbroken_tts.train.old_training import OldTraining, compare, lines_about, understand
from unbroken_tts.train.part import is_restricted
from unbroken_tts.train.probing import probe_of
from unbroken_tts.train.resume_commands import commands_for, typed_words
from unbroken_tts.train.resume_report import ResumeDialogue
from unbroken_tts.train.run_facts import facts_of
from unbroken_tts.train.session import make_order, make_run
from unbroken_tts.train.validation import BestValidation, autocast_for


def take_over(
    settings: TrainSettings, console: Console, place: Path, *, is_dry_run: bool = False
) -> None:
    """Take a run of the earlier trainer over into --output-dir, or only tell what there is.

    Args:
        settings: The settings of this start.
        console: Receives the lines.
        place: The earlier trainer's output directory, or one of its files.
        is_dry_run: Whether nothing is written.

    Raises:
        NoUsableCheckpoint: No file is whole.
        ResumeRefused: The file doesn't agree with the settings, and nobody confirmed it; a dry
            run asks nobody.
        SettingsInvalid: Files, configuration and tokenizer don't belong together.
        SaveFailed: The disk refused.
    """
    _require_whole(settings, place)
    require_old_files(place)
    root = settings.output_dir
    with _cache(root, is_dry_run=is_dry_run) as cache:
        training = understand(settings, console, place, cache)
    for line in lines_about(training, settings.rescue_position):
        console.line(line)
    report, decision = compare(training, settings.accept)
    dialogue = ResumeDialogue(
        settings, console, lambda found: commands_for(found, typed_words(sys.argv), None), root
    )
    if is_dry_run:
        _initial(settings, training)  # so that what would be refused is told now
        dialogue.show(report, decision)
        console.line("Nothing was written (--dry-run).")
        confirmed = decision.can_be_confirmed and settings.on_critical == "continue"
        if decision.blocking and not confirmed:
            raise _refused(training, report, decision)
        return
    if decision.blocking and not (decision.can_be_confirmed and dialogue.confirm(report, decision)):
        dialogue.show(report, decision)
        raise _refused(training, report, decision)
    acted = {
        "took_new": [each.id for each in decision.use_new],
        "kept_old": [each.id for each in decision.blocking],
    }
    _save(settings, console, training, acted)


def _require_whole(settings: TrainSettings, place: Path) -> None:
    if not is_restricted(settings):
        return
    raise SettingsInvalid(
        f"{place} holds a run of the earlier trainer, and --lora-rank or --train-layers was given.",
        "The old run trained all layers; its moments belong to them, and it can only go on with them.",
        "Omit them to go on. To train adapters or chosen layers on its weights begin a new run: "
        "--init-from FILE of the old run, without --resume, with another --output-dir.",
    )


@contextmanager
def _cache(root: Path, *, is_dry_run: bool) -> Iterator[Path]:
    """Give out where results about the arrays are cached: in the run's directory, if one is made."""
    if not is_dry_run:
        require_writable(root)
        RunDirectory(root).require_free()
        yield root
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _refused(training: OldTraining, report: Report, decision: Decision) -> ResumeRefused:
    first = decision.blocking[0]
    found = [f"{each.alarm or each.title} {each.numbers}" for each in decision.blocking]
    listed = "\n".join(f"  {each}" for each in found)
    implied = training.schedule.implied
    curve = (
        f" The file's rate is that of --warmup-steps {implied[0]} --max-steps {implied[1]}."
        if implied and any(each.id == EARLIER_SCHEDULE_AGREES.id for each in decision.blocking)
        else ""
    )
    error = ResumeRefused(
        f"{training.run.best.old.path} doesn't go on with these settings:\n{listed}",
        first.why,
        first.remedy + curve,
    )
    error.report, error.decision = report, decision
    return error


def _save(
    settings: TrainSettings, console: Console, training: OldTraining, acted: dict[str, list[str]]
) -> None:
    """Make the run, put the old state in, and save it as the run's first checkpoint."""
    execution, inputs, acting = training.execution, training.inputs, training.settings
    numbers, _ = parameter_numbers(acting, inputs.config, inputs.tokenizer.vocabulary, None)
    need = memory_need(execution.hardware, numbers, has_average=acting.ema_decay > 0)
    require_memory(execution.hardware, need)
    initial = _initial(settings, training)
    total = acting.max_steps
    built = build(acting, initial.model, execution.hardware, execution.precision, total)
    source = find_source(settings.output_dir, "")
    order = make_order(acting, inputs.train.pairs, training.cut.effective)
    autocast = autocast_for(execution.hardware.device, DTYPES.get(execution.precision.precision))
    probe = probe_of(built.model, PairDataset(inputs.train.pairs), acting.layout, autocast)
    facts = facts_of(acting, inputs, initial, execution)
    quiet = acting.model_copy(update={"track": ()})  # no step is trained here
    run = make_run(quiet, source, order, built, BestValidation(), facts, acting, probe)
    unfinished = run.layout.root / UNFINISHED
    with atomic_write(unfinished) as aside:
        aside.write_text(str(training.run.best.old.path.parent.resolve()), encoding="utf-8")
    run.resume(source)
    try:
        keep_untrained_encoders(run.layout.root, initial.untrained_encoders)
        _put_in(run, built, training)
        run.note("rescued", **facts["rescued"], **acted)
        place = run.save()
        unfinished.unlink()
    finally:
        run.close()
    console.line(f"Taken over: {training.run.best.old.path} continues from {place}")


def _put_in(run: Run, built: Built, training: OldTraining) -> None:
    """Give the new objects the moments, the counters and the scaler of the old run."""
    best = training.run.best
    load_moments(built.optimizer, built.model, best.moments)
    built.schedule.load_state_dict(built.schedule.state_dict() | {"updates": best.old.last_epoch})
    if built.scaler is not None and best.old.scaler is not None:
        built.scaler.load_state_dict(dict(best.old.scaler))
    run.begin_at(training.place.position)


def _initial(settings: TrainSettings, training: OldTraining) -> InitialWeights:
    """Return the model with the old weights, and the fact of where they came from."""
    best = training.run.best
    weights = best.weights
    if settings.restore_base_rows:
        _require_rows_to_restore(training)
        weights = restored(best, training.base, training.frozen)
    model = VoiceGpt(
        weights.config_for(training.inputs.config),
        training.inputs.tokenizer.vocabulary,
        training.frozen,
        checkpointing=settings.grad_checkpointing,
        dropout=settings.dropout,
    )
    load_base(model, weights)
    return InitialWeights(
        model=model,
        part=None,
        untrained_encoders=weights.untrained_encoders,
        base=str(best.old.path),
        base_rows=training.rows.facts,
        rescued=_fact(settings, training),
    )


def _require_rows_to_restore(training: OldTraining) -> None:
    if training.rows.facts.get("is_extension", True):
        return
    raise SettingsInvalid(
        f"--restore-base-rows was given, and {training.inputs.tokenizer.path} is no extension of the "
        "base's tokenizer.",
        "Its rows stand for other pieces than those of the base with the same ids, and what was trained "
        "would be lost.",
        "Omit --restore-base-rows.",
    )


def _fact(settings: TrainSettings, training: OldTraining) -> dict[str, Any]:
    old = training.run.best.old
    return {
        "directory": old.path.parent.resolve().as_posix(),
        "file": old.name,
        "step": old.step,
        "batch": training.cut.batch,
        "accumulation": training.cut.accumulation,
        "position": settings.rescue_position,
        "restored_base_rows": settings.restore_base_rows,
    }
