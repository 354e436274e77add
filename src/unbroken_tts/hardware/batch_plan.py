"""The auto-tuning table: micro-batch, accumulation and workers by the memory of the GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from unbroken import SettingsInvalid
from unbroken_tts.hardware.machine import Hardware

FEWEST_WORKERS_REFUSED: Final = 65
"""Smaller numbers of workers are never refused: shared machines report few cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One row of the auto-tuning table."""

    reported_gib: float
    """Smallest memory in GiB that a GPU of this row reports."""
    batch: int
    """Samples in a micro-batch."""
    accumulation: int
    """Micro-batches in a step."""


# A GPU reports less memory than its label says: driver and error correction use some. Each limit
# below is between the lowest figure seen for its label of 80, 40, 24, 16, 12 or 8 GB (A100 80 GB
# 79.2, A100 40 GB 39.4, L4 and A10G 22.0, T4 14.6, RTX 3060 11.7, RTX 3070 7.7 GiB) and that of
# the next smaller label (48 GB 44.4, 32 GB 31.8, 20 GB 19.7, GTX 1080 Ti 10.9, 6 GB 6.0 GiB).
CUDA_ROWS: Final[tuple[BatchRow, ...]] = (
    BatchRow(reported_gib=75.0, batch=64, accumulation=1),
    BatchRow(reported_gib=38.0, batch=16, accumulation=2),
    BatchRow(reported_gib=21.5, batch=8, accumulation=4),
    BatchRow(reported_gib=14.5, batch=6, accumulation=6),
    BatchRow(reported_gib=11.1, batch=4, accumulation=8),
    BatchRow(reported_gib=7.4, batch=2, accumulation=16),
    BatchRow(reported_gib=0.0, batch=1, accumulation=32),
)
CPU_ROW: Final = BatchRow(reported_gib=0.0, batch=1, accumulation=32)
MANY_WORKERS_GIB: Final = CUDA_ROWS[0].reported_gib


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The samples of a step, its micro-batches, and where both figures come from."""

    batch: int
    """Samples in a micro-batch, at least 1."""
    accumulation: int
    """Micro-batches in a step, at least 1."""
    effective: int
    """Samples in a step; the last micro-batch is shorter where `batch` doesn't divide it."""
    batch_source: str
    """Where `batch` comes from, for the report."""
    accumulation_source: str
    """Where `accumulation` comes from, for the report."""
    would_take: str = ""
    """What the table has for this GPU, where a resumed run keeps another effective batch."""
    freed: str = ""
    """Memory that frozen layers leave for a larger micro-batch, for the report; empty for none."""

    def lines(self) -> list[str]:
        """Return the three lines of the report."""
        kept = (
            f" (this GPU would take {self.would_take}; the run keeps {self.effective})"
            if self.would_take
            else ""
        )
        return [
            f"Batch size: {self.batch} ({self.batch_source}{self.freed})",
            f"Grad accumulation: {self.accumulation} ({self.accumulation_source})",
            f"Effective batch: {self.effective}{kept}",
        ]


def batch_row(hardware: Hardware, freed: int = 0) -> BatchRow:
    """Return the row of the auto-tuning table for `hardware`.

    Args:
        hardware: The result of `detect`.
        freed: Bytes that the training needs less than one of all layers. What gradients and moments
            don't take is left for activations, so the card counts as one with so much more.
    """
    if not hardware.is_cuda:
        return CPU_ROW
    memory = hardware.memory_gib + freed / 2**30
    return next(row for row in CUDA_ROWS if memory >= row.reported_gib)


def plan_batch(
    hardware: Hardware,
    *,
    batch: int = 0,
    accumulation: int = 0,
    effective: int = 0,
    freed: int = 0,
) -> BatchPlan:
    """Choose the micro-batch and the accumulation.

    Args:
        hardware: The result of `detect`.
        batch: The user's setting; 0 is automatic.
        accumulation: The user's setting; 0 is automatic.
        effective: Samples in a step of the run to resume; 0 for a new run. A resumed run keeps its
            effective batch, so only the size of the micro-batches is chosen.
        freed: Bytes that the training needs less than one of all layers.

    Returns:
        The plan. If only one of the two is given, the other is chosen so that the effective batch
        is as near to the table's as the memory of the GPU allows.
    """
    row = batch_row(hardware, freed)
    is_larger = not batch and row.batch > batch_row(hardware).batch
    told = f"; frozen layers leave {freed / 2**30:.1f} GiB more" if is_larger else ""
    if effective:
        plan = _plan_for_run(row, batch=batch, accumulation=accumulation, effective=effective)
        is_asked = batch and accumulation
        is_other = hardware.is_cuda and row.batch * row.accumulation != effective and not is_asked
        would_take = f"{row.batch} x {row.accumulation}" if is_other else ""
        return replace(plan, would_take=would_take, freed=told)
    wanted = row.batch * row.accumulation
    batch_source = "--batch-size" if batch else "auto-detected"
    accumulation_source = "--grad-accumulation" if accumulation else "auto-detected"
    if batch and not accumulation:
        accumulation = max(1, round(wanted / batch))
        accumulation_source = f"from --batch-size, for an effective batch near {wanted}"
    elif accumulation and not batch:
        limit = row.batch if hardware.is_cuda else wanted
        batch = max(1, min(limit, round(wanted / accumulation)))
        batch_source = f"from --grad-accumulation, for an effective batch near {wanted}"
    batch = batch or row.batch
    accumulation = accumulation or row.accumulation
    return BatchPlan(
        batch=batch,
        accumulation=accumulation,
        effective=batch * accumulation,
        batch_source=batch_source,
        accumulation_source=accumulation_source,
        freed=told,
    )


def _plan_for_run(row: BatchRow, *, batch: int, accumulation: int, effective: int) -> BatchPlan:
    """Choose the micro-batches for a run whose effective batch is fixed."""
    source = f"cuts this run's effective batch of {effective}"
    batch_source = "--batch-size" if batch else source
    if not batch and accumulation:
        batch = -(-effective // accumulation)
        batch_source = f"from --grad-accumulation, {source}"
    batch = min(batch or row.batch, effective)
    return BatchPlan(
        batch=batch,
        accumulation=-(-effective // batch),
        effective=effective,
        batch_source=batch_source,
        accumulation_source=source,
    )


def plan_workers(hardware: Hardware, wanted: int | Literal["none"] = 0) -> int:
    """Return the number of processes that prefetch samples.

    Args:
        hardware: The result of `detect`.
        wanted: A number; 0 is automatic, `none` uses no worker process.

    Raises:
        SettingsInvalid: The number is too large for the machine.
    """
    if wanted == "none":
        return 0
    most = max(FEWEST_WORKERS_REFUSED, 8 * hardware.cores)
    if wanted >= most:
        raise SettingsInvalid(
            f"--num-workers {wanted} on a machine with {hardware.cores} cores.",
            "Each worker is a process with its own memory. So many would exhaust the machine, and "
            "would read no faster than a few.",
            "Omit --num-workers, or give at most a few per core.",
        )
    if wanted:
        return wanted
    if not hardware.is_cuda:
        return min(4, max(1, hardware.cores // 2))
    if hardware.memory_gib >= MANY_WORKERS_GIB:
        return min(24, hardware.cores)
    return min(16, max(4, hardware.cores))
