"""One start of a training: everything is read, built, restored and compared before the first step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbroken.errors import ResumeRefused, SaveFailed
from unbroken.order.step_batches import StepBatches
from unbroken.resume import ResumeReport, Target
from unbroken.run import Run
from unbroken_tts.data.manifest import parse_argument
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.hardware import (
    BatchPlan,
    PrecisionPlan,
    configure,
    detect,
    plan_batch,
    plan_precision,
    plan_workers,
    report_lines,
)
from unbroken_tts.settings import TrainSettings, must_match_fields
from unbroken_tts.train.beginning import (
    Beginning,
    find_target,
    keep_carried,
    new_model,
    require_writable,
    saved_model,
)
from unbroken_tts.train.building import DTYPES, Built, build
from unbroken_tts.train.console import Console
from unbroken_tts.train.inputs import Inputs, read_inputs
from unbroken_tts.train.validation import Best, Validation, autocast_for

MAY_CHANGE = (
    "base",
    "execution",
    "data.validation",
    "model.number_text_tokens",  # the tokenizer decides; the file is often brought up to date later
    "sources",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one start of a training works with."""

    settings: TrainSettings
    inputs: Inputs
    plan: BatchPlan
    workers: int
    built: Built
    run: Run
    report: ResumeReport
    best: Best
    validation: Validation
    autocast: Callable[[], Any]
    until: int
    """Steps of the whole run."""
    name: str
    """Name of the run's curves."""
    notes: tuple[str, ...]
    """What a person should know about this start."""


def open_session(settings: TrainSettings, console: Console) -> Session:
    """Read, build, restore and compare.

    Raises:
        UnbrokenError: Something doesn't fit; nothing of a run that stands was changed.
    """
    target = find_target(settings)
    require_writable(target.layout.root)
    saved = target.checkpoint.facts() if target.checkpoint else None
    hardware = detect(settings.device)
    precision = plan_precision(hardware, precision=settings.precision, amp=settings.amp)
    plan = _plan(settings, hardware, saved)
    workers = plan_workers(hardware, settings.num_workers)
    threads = configure(hardware, precision, threads=settings.threads)
    for line in report_lines(hardware, plan, precision, workers=workers, threads=threads):
        console.line(line)
    inputs = read_inputs(settings, console, target.layout.root, saved)
    order = make_order(settings, inputs.train.pairs, plan.effective)
    until = settings.max_steps or settings.epochs * order.steps_per_epoch
    beginning = (
        saved_model(settings, saved)
        if saved is not None
        else new_model(settings, inputs.config, inputs.tokenizer.vocabulary)
    )
    built = build(settings, beginning.model, hardware, precision, until)
    best = Best()
    run = _run(
        settings,
        target,
        order,
        built,
        best,
        _facts(settings, inputs, beginning, precision, plan, workers),
    )
    report = run.resume(target)
    if any(each.name == "data.validation" for each in report.changed):
        best.forget()  # a score on other samples is no rival
    try:
        keep_carried(run.layout, beginning.carried)
    except SaveFailed:
        run.close()
        raise
    autocast = autocast_for(hardware.device, DTYPES.get(precision.precision))
    validation = Validation(
        settings,
        PairDataset(inputs.validation.pairs),
        _lengths(settings, inputs.validation.pairs),
        effective_batch=plan.effective,
        batch=settings.val_batch_size or 2 * plan.batch,
        autocast=autocast,
        stop=run.stop,
    )
    return Session(
        settings=settings,
        inputs=inputs,
        plan=plan,
        workers=workers,
        built=built,
        run=run,
        report=report,
        best=best,
        validation=validation,
        autocast=autocast,
        until=until,
        name=_curves_name(run),
        notes=_notes(settings, run),
    )


def _notes(settings: TrainSettings, run: Run) -> tuple[str, ...]:
    root = run.layout.root
    if root.absolute() == settings.output_dir.absolute():
        return ()
    return (f"the run of --resume lies in {root} and goes on there, not in --output-dir",)


def _plan(settings: TrainSettings, hardware: Any, saved: dict[str, Any] | None) -> BatchPlan:
    effective = saved["order"]["effective_batch"] if saved else 0
    asked = settings.batch_size * settings.grad_accumulation
    if effective and asked and asked != effective:
        raise ResumeRefused(
            f"--batch-size {settings.batch_size} and --grad-accumulation "
            f"{settings.grad_accumulation} make an effective batch of {asked}; this run's is "
            f"{effective}.",
            "Another effective batch is another training: other steps, other noise, another "
            "schedule.",
            f"Leave out --grad-accumulation: any --batch-size cuts the run's {effective} samples "
            "without changing them.",
        )
    return plan_batch(
        hardware,
        batch=settings.batch_size,
        accumulation=settings.grad_accumulation,
        effective=effective,
    )


def make_order(settings: TrainSettings, pairs: Pairs, effective: int) -> StepBatches:
    """Return the run's order: step batches of like length, or random ones."""
    lengths = _lengths(settings, pairs) if settings.order == "bucketed" else None
    return StepBatches(list(pairs.ids), lengths, effective, settings.seed)


def _lengths(settings: TrainSettings, pairs: Pairs) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return what samples are sorted by: in the tight layout only the whole length is padded."""
    if settings.layout == "tight":
        return pairs.text_lengths + pairs.code_lengths
    # Text and codes are padded apart there: 16 codes make a bucket, the text decides within it.
    return (pairs.code_lengths // 16) * (int(pairs.text_lengths.max()) + 1) + pairs.text_lengths


def _facts(
    settings: TrainSettings,
    inputs: Inputs,
    beginning: Beginning,
    precision: PrecisionPlan,
    plan: BatchPlan,
    workers: int,
) -> dict[str, Any]:
    must_match = settings.model_dump(mode="json", include=set(must_match_fields()))
    must_match["amp"] = settings.amp is not False  # --amp and no word of it mean the same
    return {
        "settings": must_match,
        "tokenizer": inputs.tokenizer.digest,
        "vocabulary": inputs.tokenizer.vocabulary,
        "frozen_rows": beginning.model.frozen_rows,
        "model": inputs.config.model_copy(
            update={"speed_rows": beginning.model.config.speed_rows}
        ).model_dump(mode="json"),
        "data": {
            "train": inputs.train.fingerprint,
            "validation": inputs.validation.fingerprint,
            "dropped": [str(each.pair_id) for each in inputs.train.dropped],
        },
        "base": beginning.base,
        "execution": {
            "batch": plan.batch,
            "accumulation": plan.accumulation,
            "workers": workers,
            "precision": precision.precision,
        },
        "sources": _sources(settings),
    }


def _sources(settings: TrainSettings) -> dict[str, Any]:
    """Return where things lie, so that speaking finds them; hints, never the run's identity."""
    return {
        "tokenizer": settings.tokenizer.absolute().as_posix(),
        "train_manifest": [
            Path(parse_argument(each).path).absolute().as_posix()
            for each in settings.train_manifest
        ],
        "codec": settings.codec.absolute().as_posix() if settings.codec else None,
    }


def _run(
    settings: TrainSettings,
    target: Target,
    order: StepBatches,
    built: Built,
    best: Best,
    facts: dict[str, Any],
) -> Run:
    extra: dict[str, Any] = {} if built.ema is None else {"ema": built.ema}
    return Run(
        target.layout.root,
        order=order,
        model=built.model,
        optimizer=built.optimizer,
        scheduler=built.schedule,
        scaler=built.scaler,
        facts=facts,
        may_change=MAY_CHANGE,
        save_every=settings.save_interval,
        save_minutes=settings.save_minutes,
        keep=settings.keep_checkpoints,
        best_by="val_loss" if settings.keep_best else None,
        grace_seconds=settings.grace_seconds,
        stop_file=settings.stop_file,
        best=best,
        **extra,
    )


def _curves_name(run: Run) -> str:
    born = json.loads(run.layout.run_file.read_text("utf-8"))["created"]
    # In UTC: the curves stay together where the run goes on in another time zone.
    return time.strftime("run_%Y%m%d_%H%M%S", time.gmtime(born))
