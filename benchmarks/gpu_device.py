"""What the device is, how fast it could be, and how time on it is measured."""

from __future__ import annotations

import datetime as dt
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch

PEAKS: tuple[tuple[str, float], ...] = (
    ("B200", 2250e12),
    ("H200", 989.4e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835.5e12),
    ("H100", 989.4e12),
    ("A100", 312e12),
    ("A40", 149.7e12),
    ("A10", 125e12),
    ("L40S", 362.05e12),
    ("L4", 121e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)
"""Dense bf16 operations per second with fp32 sums, from the data sheets; the first name that fits."""


def is_cuda(device: str) -> bool:
    """Say whether a device is a card."""
    return device.startswith("cuda")


def synchronize(device: str) -> None:
    """Wait until the device has done all it was given."""
    if is_cuda(device):
        torch.cuda.synchronize()


def device_facts(device: str) -> dict[str, Any]:
    """Return what a reader must know of where figures come from."""
    facts: dict[str, Any] = {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    if is_cuda(device):
        card = torch.cuda.get_device_properties(0)
        facts |= {
            "device": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count,
            "capability": f"{card.major}.{card.minor}",
            "driver": _driver(),
        }
    return facts


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.split("\n", maxsplit=1)[0].strip()


def peak_operations(device: str) -> tuple[float, str]:
    """Return the device's dense bf16 operations per second, and where the figure comes from."""
    if is_cuda(device):
        name = torch.cuda.get_device_name(0)
        for part, peak in PEAKS:
            if part in name:
                return peak, f"data sheet of {part}: {peak / 1e12:g} TFLOP/s dense bf16"
    measured = matmul_operations(device, 8192 if is_cuda(device) else 64)
    return measured, f"unknown device: a large product ran at {measured / 1e12:.3g} TFLOP/s"


def matmul_operations(device: str, rows: int, inner: int = 0, columns: int = 0) -> float:
    """Return the operations per second of a bf16 matrix product on random numbers."""
    inner, columns = inner or rows, columns or rows
    one = torch.randn(rows, inner, device=device, dtype=torch.bfloat16)
    other = torch.randn(inner, columns, device=device, dtype=torch.bfloat16)
    seconds = seconds_of(lambda: one @ other, device)
    return 2.0 * rows * inner * columns / seconds


def seconds_of(
    action: Callable[[], object], device: str, *, repeats: int = 5, calls: int = 10
) -> float:
    """Return the median seconds of one call, after some to warm up; calls are timed in groups."""
    for _ in range(3):
        action()
    found = []
    for _ in range(repeats):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(calls):
            action()
        synchronize(device)
        found.append((time.perf_counter() - began) / calls)
    return statistics.median(found)


def fresh_peak(device: str) -> None:
    """Begin to note anew how much of the device's memory is in use at most."""
    if is_cuda(device):
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> float:
    """Return the most memory of the device in use since `fresh_peak`, in GiB; 0 without a card."""
    return torch.cuda.max_memory_allocated() / 2**30 if is_cuda(device) else 0.0


def reserved_gib(device: str) -> float:
    """Return the most memory that was held since `fresh_peak`, free pieces of it included."""
    return torch.cuda.max_memory_reserved() / 2**30 if is_cuda(device) else 0.0


def be_deterministic(*, is_on: bool = True, fill: bool = True) -> None:
    """Let only algorithms run that give the same bits each time.

    On a card the process must have been started with CUBLAS_WORKSPACE_CONFIG=:4096:8.

    Args:
        is_on: Whether, or no longer.
        fill: Fill memory that was never written with NaN, so that whoever reads it is found out.
    """
    torch.use_deterministic_algorithms(is_on)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]  # a property of the module
