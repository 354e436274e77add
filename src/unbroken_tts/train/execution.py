"""What a start computes on and how it cuts the work: nothing here is the run's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unbroken_tts.hardware import (
    BatchPlan,
    Hardware,
    PrecisionPlan,
    configure,
    detect,
    plan_batch,
    plan_precision,
    plan_workers,
    report_lines,
)
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The machine of one start, and what was decided for it."""

    hardware: Hardware
    precision: PrecisionPlan
    plan: BatchPlan
    workers: int
    """Processes that read samples ahead."""


def plan_execution(
    settings: TrainSettings, console: Console, saved: dict[str, Any] | None
) -> Execution:
    """Look at the machine, decide, set this process up, and show it.

    Args:
        settings: What the user asked for.
        console: Is shown what was found and decided.
        saved: The facts of the checkpoint that is continued, if any; its effective batch stays,
            unless another one is asked for by --batch-size and --grad-accumulation together.

    Raises:
        SettingsInvalid: The device can't do what was asked for.
    """
    hardware = detect(settings.device)
    precision = plan_precision(hardware, precision=settings.precision, amp=settings.amp)
    plan = _plan(settings, hardware, saved)
    workers = plan_workers(hardware, settings.num_workers)
    threads = configure(hardware, precision, threads=settings.threads)
    for line in report_lines(hardware, plan, precision, workers=workers, threads=threads):
        console.line(line)
    return Execution(hardware=hardware, precision=precision, plan=plan, workers=workers)


def _plan(settings: TrainSettings, hardware: Hardware, saved: dict[str, Any] | None) -> BatchPlan:
    run_size = saved["order"]["effective_batch"] if saved else 0
    # Both flags together ask for another effective batch; the checks of the resume tell of it.
    asked = settings.batch_size * settings.grad_accumulation
    return plan_batch(
        hardware,
        batch=settings.batch_size,
        accumulation=settings.grad_accumulation,
        effective=asked or run_size,
    )
