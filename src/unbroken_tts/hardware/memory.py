"""Compares the memory that a training of this size needs with what is free, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from unbroken import SettingsInvalid
from unbroken_tts.hardware.machine import Hardware
from unbroken_tts.hardware.precision_plan import Precision

GB: Final = 10**9
TRAINING_BYTES: Final = 16
"""For each trained number, in fp32: weight, gradient and the two moments of AdamW."""
HALF_COPY_BYTES: Final = 2
"""For each number of a block's weight matrix, in bf16 and fp16: the copy that autocast computes with."""
FROZEN_BYTES: Final = 4
"""For each frozen number, in fp32: the weight alone."""
BYTES_SAVED: Final = TRAINING_BYTES - FROZEN_BYTES
"""What a number needs less where it is frozen: gradient and moments."""
AVERAGE_BYTES: Final = 4
"""For its moving average."""
SNAPSHOT_BYTES: Final = 12
"""For the copy of weight and moments in main memory that is written while training goes on."""

_GROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What a training holds at least; activations come on top, and depend on the batch."""

    numbers: int
    """Trained parameters."""
    frozen: int
    """Frozen ones."""
    device: int
    """Bytes on the device."""
    host: int
    """Bytes in main memory; where the device is the processor, these are all."""


def memory_need(
    hardware: Hardware, numbers: int, *, frozen: int = 0, has_average: bool
) -> MemoryNeed:
    """Return what a training holds at least.

    Args:
        hardware: Where it computes.
        numbers: Trained parameters.
        frozen: Parameters that are not trained.
        has_average: Whether it keeps a moving average of all of them.
    """
    average = AVERAGE_BYTES * (numbers + frozen) if has_average else 0
    device = numbers * TRAINING_BYTES + frozen * FROZEN_BYTES + average
    host = numbers * SNAPSHOT_BYTES + frozen * FROZEN_BYTES + average
    return MemoryNeed(
        numbers=numbers,
        frozen=frozen,
        device=device if hardware.is_cuda else 0,
        host=host if hardware.is_cuda else device + host,
    )


def require_memory(hardware: Hardware, need: MemoryNeed) -> None:
    """Refuse a training that would be ended by the memory after minutes of loading.

    Raises:
        SettingsInvalid: Less is free than it holds at least.
    """
    for kind, needed, free in (
        ("GPU memory", need.device, free_on_card(hardware) if need.device else 0),
        ("main memory", need.host, free_in_main_memory()),
    ):
        if needed > free:
            raise SettingsInvalid(
                f"Training this model needs at least {needed / GB:.1f} GB of {kind}, and "
                f"{free / GB:.1f} GB are free.",
                f"It has {need.numbers / 1e6:.0f} million trained numbers: weights, gradients and "
                f"moments, and a copy while it is saved{_and_frozen(need)}. It would end, or be "
                "killed, after loading.",
                "Free memory, or use a machine with more, or train fewer numbers: --lora-rank 16, or "
                "--train-layers last:4.",
            )


def _and_frozen(need: MemoryNeed) -> str:
    return f"; and {need.frozen / 1e6:.0f} million frozen ones" if need.frozen else ""


def free_on_card(hardware: Hardware) -> int:
    """Return the free bytes of a GPU."""
    import torch

    return int(torch.cuda.mem_get_info(hardware.device)[0])


def free_in_main_memory() -> int:
    """Return the bytes that a process may still take: free, reclaimable or swap, within its group."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    try:  # a container may have less than its machine
        limit = (_GROUP / "memory.max").read_text("ascii").strip()
        used = int((_GROUP / "memory.current").read_text("ascii"))
        stat = dict(
            each.split() for each in (_GROUP / "memory.stat").read_text("ascii").splitlines()
        )
        own = free if limit == "max" else int(limit) - used + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return free
    return max(0, min(free, own))


def memory_by_precision(
    numbers: int, matrix_numbers: int, frozen: int = 0
) -> dict[Precision, dict[str, int]]:
    """Return what a training holds at least in each precision, without a moving average.

    Args:
        numbers: Trained parameters.
        matrix_numbers: Those in the weight matrices of the transformer's blocks, trained or not.
        frozen: Parameters that are not trained.

    Returns:
        Precision -> bytes: on a `card`, in the `main_memory` beside it, and on a `processor` alone.
    """
    found: dict[Precision, dict[str, int]] = {}
    for precision in ("fp32", "bf16", "fp16"):
        copies = 0 if precision == "fp32" else HALF_COPY_BYTES * matrix_numbers
        weights = frozen * FROZEN_BYTES
        device = numbers * TRAINING_BYTES + weights + copies
        host = numbers * SNAPSHOT_BYTES + weights
        found[precision] = {"card": device, "main_memory": host, "processor": device + host}
    return found
