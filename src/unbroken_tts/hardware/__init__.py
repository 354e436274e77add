"""Detects the hardware and chooses batch, workers and precision.

`detect` inspects the machine and `configure` sets torch up; everything between is a pure function
of the hardware found and the settings.
"""

from __future__ import annotations

from unbroken_tts.hardware.batch_plan import BatchPlan, batch_row, plan_batch, plan_workers
from unbroken_tts.hardware.machine import Hardware, detect
from unbroken_tts.hardware.memory import (
    BYTES_SAVED,
    memory_by_precision,
    memory_need,
    require_memory,
)
from unbroken_tts.hardware.precision_plan import (
    Precision,
    PrecisionPlan,
    configure,
    plan_precision,
)

__all__ = [
    "BYTES_SAVED",
    "BatchPlan",
    "Hardware",
    "Precision",
    "PrecisionPlan",
    "batch_row",
    "configure",
    "detect",
    "memory_by_precision",
    "memory_need",
    "plan_batch",
    "plan_precision",
    "plan_workers",
    "report_lines",
    "require_memory",
]


def report_lines(
    hardware: Hardware, batch: BatchPlan, precision: PrecisionPlan, *, workers: int, threads: int
) -> list[str]:
    """Return the lines about hardware and plan that are printed before the first step."""
    kind = "GPU memory" if hardware.is_cuda else "Memory"
    return [
        f"Device: {hardware.device} ({hardware.name})",
        f"{kind}: {hardware.memory_gib:.1f} GiB",
        f"CPU cores: {hardware.cores} (computing threads: {threads})",
        f"Precision: {precision.precision} ({precision.reason})",
        f"TF32: {'on' if precision.has_tf32 else 'off'}",
        *batch.lines(),
        f"Workers: {workers}",
    ]
