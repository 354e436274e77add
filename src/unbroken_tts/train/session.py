"""Opens one start of a training: reads, builds, restores and compares, up to the first step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unbroken import (
    Mix,
    Probe,
    ResumeRefused,
    ResumeReport,
    ResumeSource,
    Run,
    RunDirectory,
    SaveFailed,
    StepBatches,
)
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.hardware import BatchPlan, Hardware, memory_need, require_memory
from unbroken_tts.model.trained_part import TrainedPart
from unbroken_tts.rescue.rescue_checks import RESCUE_IDS
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.building import DTYPES, Built, build
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS
from unbroken_tts.train.console import Console
from unbroken_tts.train.execution import Execution, plan_execution
from unbroken_tts.train.feature_origin import require_own_conditioner, require_same_codec
from unbroken_tts.train.frozen_base import require_same_base
from unbroken_tts.train.initial_weights import (
    InitialWeights,
    find_run,
    keep_untrained_encoders,
    new_model,
    parameter_numbers,
    require_weights,
    require_writable,
    saved_model,
)
from unbroken_tts.train.inputs import Inputs, read_inputs
from unbroken_tts.train.kept_files import keep_files
from unbroken_tts.train.kept_settings import kept_settings, setting_facts, what_does_not_act
from unbroken_tts.train.language_row import language_row
from unbroken_tts.train.load import untrained_encoders_file
from unbroken_tts.train.mixing import mix_of, told
from unbroken_tts.train.old_settings import filled_from_old
from unbroken_tts.train.probing import probe_of
from unbroken_tts.train.processes import ALONE, Processes
from unbroken_tts.train.remedies import REMEDIES
from unbroken_tts.train.resume_commands import commands_for, typed_words
from unbroken_tts.train.resume_report import Commands, ResumeDialogue
from unbroken_tts.train.run_facts import MAY_CHANGE, facts_of, frozen_tensors
from unbroken_tts.train.tracked import curves_name, trackers_of
from unbroken_tts.train.validation import BestValidation, Validation, autocast_for

NO_TEXT_RULES = (
    "nothing names the one set of rules that made the text ids (prepare.json beside the manifests "
    "does): an export can't carry them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSession:
    """The objects of one start of a training."""

    settings: TrainSettings
    inputs: Inputs
    plan: BatchPlan
    workers: int
    built: Built
    part: TrainedPart | None
    """What is trained of the model; None for everything."""
    run: Run
    report: ResumeReport
    best: BestValidation
    validation: Validation
    autocast: Callable[[], Any]
    until: int
    """Steps of the whole run."""
    name: str
    """Name of the run's curves."""
    notes: tuple[str, ...]
    """Remarks on this start, to be printed."""


def open_session(
    settings: TrainSettings, console: Console, processes: Processes = ALONE
) -> TrainingSession:
    """Read the inputs, build the objects, restore the run, and check it; in each process at once.

    Raises:
        UnbrokenError: The run can't start or continue; an existing run was not changed.
    """
    source = find_run(settings)
    require_writable(source.layout.root)
    RunDirectory(source.layout.root).require_free()
    saved = source.facts()
    asked = filled_from_old(settings, saved)
    settings = kept_settings(asked, saved)
    execution = plan_execution(settings, console, saved, processes)
    known = saved if source.checkpoint is not None else None
    if known is not None:
        require_same_base(asked, known)
    for each in what_does_not_act(asked, settings, execution.precision.precision):
        console.line(f"NOTE: {each}")
    if source.checkpoint is None:
        require_weights(settings)
    inputs = read_inputs(
        settings, console, source.layout.root, saved, is_resumed=source.checkpoint is not None
    )
    order = make_order(settings, inputs.train.pairs, execution.plan.effective)
    if order.mix is not None:
        console.line(told(order.mix))
    until = settings.max_steps or settings.epochs * order.steps_per_epoch
    _require_memory(settings, inputs, execution.hardware, known)
    initial = _initial(settings, inputs, order.mix, known)
    for each in initial.lines:
        console.line(each)
    built = build(settings, initial.model, execution.hardware, execution.precision, until)
    best = BestValidation()
    facts = facts_of(settings, inputs, initial, execution)
    if facts["text_rules"] is None:
        console.line(f"NOTE: {NO_TEXT_RULES}")
    autocast = autocast_for(execution.hardware.device, DTYPES.get(execution.precision.precision))
    probe = probe_of(built.model, PairDataset(inputs.train.pairs), settings.layout, autocast)
    run = make_run(settings, source, order, built, best, facts, asked, probe)
    dialogue = ResumeDialogue(settings, console, _commands(source), source.layout.root)
    report = _resume(run, source, best, initial, dialogue, processes)
    return TrainingSession(
        settings=settings,
        inputs=inputs,
        plan=execution.plan,
        workers=execution.workers,
        built=built,
        part=initial.part,
        run=run,
        report=report,
        best=best,
        validation=_validation(settings, inputs, execution, autocast, run),
        autocast=autocast,
        until=until,
        name=curves_name(run.layout.root, run.run_id),
        notes=(*initial.notes, *_notes(settings, run, until)),
    )


def _require_memory(
    settings: TrainSettings, inputs: Inputs, hardware: Hardware, known: dict[str, Any] | None
) -> None:
    numbers, frozen = parameter_numbers(settings, inputs.config, inputs.tokenizer.vocabulary, known)
    has_average = settings.ema_decay > 0
    require_memory(hardware, memory_need(hardware, numbers, frozen=frozen, has_average=has_average))


def _initial(
    settings: TrainSettings, inputs: Inputs, mix: Mix | None, known: dict[str, Any] | None
) -> InitialWeights:
    """Return the model of the run to continue, whose facts are known, or that of a new one."""
    if known is not None:
        return saved_model(settings, known)
    language = language_row(settings, inputs.config, inputs.tokenizer, inputs.train, mix)
    initial = new_model(settings, inputs.config, inputs.tokenizer, language)
    require_own_conditioner(inputs.origin, initial.untrained_encoders, initial.base)
    require_same_codec(inputs.origin, initial.facts, initial.base)
    return initial


def _resume(
    run: Run,
    source: ResumeSource,
    best: BestValidation,
    initial: InitialWeights,
    dialogue: ResumeDialogue,
    processes: Processes,
) -> ResumeReport:
    step = source.checkpoint.position.step if source.checkpoint else 0
    try:
        accepted = [each for each in dialogue.settings.accept if each not in RESCUE_IDS]
        asks = dialogue.confirm if processes.count == 1 else None  # nobody answers for all of them
        report = run.resume(source, accept=accepted, confirm=asks)
    except ResumeRefused as error:
        if error.report is not None:
            dialogue.show(error.report, error.decision)
            dialogue.keep(run.layout.logs, step, error.report, error.decision)
        raise
    dialogue.show(report.checks, report.decision)
    dialogue.keep(run.layout.logs, step, report.checks, report.decision)
    if any(each.name == "data.validation" for each in report.changed):
        best.forget()  # scores on different samples can't be compared
    if processes.rank:
        return report  # the first process keeps the files of the run
    try:
        keep_untrained_encoders(run.layout.root, initial.untrained_encoders)
        keep_files(run.layout.root, dialogue.settings.config, dialogue.settings.tokenizer)
    except SaveFailed:
        run.close()
        raise
    return report


def _commands(source: ResumeSource) -> Commands:
    place = source.checkpoint.path if source.checkpoint else None
    return lambda report: commands_for(report, typed_words(sys.argv), place)


def _validation(
    settings: TrainSettings,
    inputs: Inputs,
    execution: Execution,
    autocast: Callable[[], Any],
    run: Run,
) -> Validation:
    return Validation(
        settings,
        inputs.validation.pairs,
        _lengths(settings, inputs.validation.pairs),
        effective_batch=execution.plan.effective,
        batch=settings.val_batch_size or 2 * execution.plan.batch,
        autocast=autocast,
        stop=run.stop,
    )


def _notes(settings: TrainSettings, run: Run, until: int) -> tuple[str, ...]:
    found = []
    root = run.layout.root
    if root.absolute() != settings.output_dir.absolute():
        found.append(f"the run of --resume is in {root} and continues there, not in --output-dir")
    if not untrained_encoders_file(root).exists():
        found.append(
            f"{untrained_encoders_file(root)} is missing: training doesn't need it, but no gpt.pth "
            "can be exported without it"
        )
    if not settings.max_steps and settings.warmup_steps >= until:
        found.append(
            f"--warmup-steps {settings.warmup_steps} is not below the {until} steps of --epochs "
            f"{settings.epochs}: the learning rate never reaches {settings.learning_rate:g}."
        )
    return tuple(found)


def make_order(settings: TrainSettings, pairs: Pairs, effective: int) -> StepBatches:
    """Return the run's order: step batches of similar length, or random ones."""
    lengths = _lengths(settings, pairs) if settings.order == "bucketed" else None
    mix = mix_of(settings, pairs)
    return StepBatches(
        list(pairs.ids), lengths, effective, settings.seed, mix, settings.exact_across_devices
    )


def _lengths(settings: TrainSettings, pairs: Pairs) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (N,) the lengths to sort samples by; the tight layout pads only the total length."""
    if settings.layout == "tight":
        return pairs.text_lengths + pairs.code_lengths
    # `legacy` pads text and codes separately: sort by buckets of 16 codes, then by text.
    return (pairs.code_lengths // 16) * (int(pairs.text_lengths.max()) + 1) + pairs.text_lengths


def make_run(
    settings: TrainSettings,
    source: ResumeSource,
    order: StepBatches,
    built: Built,
    best: BestValidation,
    facts: dict[str, Any],
    asked: TrainSettings,
    probe: Probe,
) -> Run:
    """Return the run of a start; nothing is read or written yet."""
    extra: dict[str, Any] = {} if built.ema is None else {"ema": built.ema}
    return Run(
        source.layout.root,
        order=order,
        model=built.model,
        optimizer=built.optimizer,
        scheduler=built.schedule,
        scaler=built.scaler,
        facts=facts,
        may_change=MAY_CHANGE,
        checks=TRAINER_CHECKS,
        advice=REMEDIES,
        save_every=settings.save_interval,
        save_minutes=settings.save_minutes,
        keep=settings.keep_checkpoints,
        keep_every=settings.keep_every,
        best_by="val_loss" if settings.keep_best else None,
        max_lost_minutes=settings.max_lost_minutes,
        grace_seconds=settings.grace_seconds,
        stop_file=settings.stop_file,
        on_diverged=settings.on_diverged,
        overlap=True,  # only the optimiser changes parameters here
        requested_facts=facts | {"settings": setting_facts(asked)},
        frozen=frozen_tensors(built.model),
        probe=probe,
        trackers=trackers_of(settings, source.layout.root),
        best=best,
        **extra,
    )
