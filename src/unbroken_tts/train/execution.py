"""The device, precision and micro-batches of one start; they may differ between starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from unbroken_tts.train.part import freed_bytes
from unbroken_tts.train.processes import ALONE, Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The hardware of one start, and what was chosen for it."""

    hardware: Hardware
    precision: PrecisionPlan
    plan: BatchPlan
    workers: int
    """Number of processes that prefetch samples."""


def plan_execution(
    settings: TrainSettings,
    console: Console,
    saved: dict[str, Any] | None,
    processes: Processes = ALONE,
) -> Execution:
    """Inspect the machine, choose precision, batch and workers, configure torch, and print it all.

    Args:
        settings: The settings of this start.
        console: Receives what was found and chosen.
        saved: The facts of the checkpoint to resume, if any. Its effective batch is kept, unless
            --batch-size and --grad-accumulation together request another one.
        processes: Those that train.

    Raises:
        SettingsInvalid: The device doesn't support the settings.
    """
    hardware = detect(processes.device(settings.device))
    precision = plan_precision(hardware, precision=settings.precision, amp=settings.amp)
    plan = _plan(settings, hardware, saved)
    workers = plan_workers(hardware, settings.num_workers)
    threads = configure(hardware, precision, threads=settings.threads)
    for line in report_lines(hardware, plan, precision, workers=workers, threads=threads):
        console.line(line)
    if processes.count > 1:
        console.line(
            f"Processes: {processes.count}, each with a share of the {plan.effective} samples of a step"
        )
    return Execution(hardware=hardware, precision=precision, plan=plan, workers=workers)


def _plan(settings: TrainSettings, hardware: Hardware, saved: dict[str, Any] | None) -> BatchPlan:
    run_size = saved["order"]["effective_batch"] if saved else 0
    # Both flags together request another effective batch; the checks of the resume report it.
    asked = settings.batch_size * settings.grad_accumulation
    plan = plan_batch(
        hardware,
        batch=settings.batch_size,
        accumulation=settings.grad_accumulation,
        effective=asked or run_size,
        freed=freed_bytes(settings, saved),
    )
    if not settings.exact_across_devices:
        return plan
    flag = "--exact-across-devices"
    cut = -(-plan.effective // settings.exact_across_devices)
    return replace(
        plan,
        batch=cut,
        accumulation=-(-plan.effective // cut),
        batch_source=flag,
        accumulation_source=flag,
    )
