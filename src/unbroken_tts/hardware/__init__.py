"""What the machine offers, and what follows from it: batch, workers, precision.

`detect` looks at the machine and `configure` sets it up; everything between is a pure function of
what was found and what the user asked for, so that each row of the table is a test.
"""

from __future__ import annotations

from unbroken_tts.hardware.batch_plan import BatchPlan, batch_row, plan_batch, plan_workers
from unbroken_tts.hardware.machine import Hardware, detect
from unbroken_tts.hardware.precision_plan import (
    Precision,
    PrecisionPlan,
    configure,
    plan_precision,
)

__all__ = [
    "BatchPlan",
    "Hardware",
    "Precision",
    "PrecisionPlan",
    "batch_row",
    "configure",
    "detect",
    "plan_batch",
    "plan_precision",
    "plan_workers",
    "report_lines",
]


def report_lines(
    hardware: Hardware, batch: BatchPlan, precision: PrecisionPlan, *, workers: int, threads: int
) -> list[str]:
    """Return what a person is shown before the first step, a line each."""
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
