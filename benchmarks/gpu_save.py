"""Part 2: what a save of the real model with its moments costs, from the device to the disk.

The stall is what the training waits: the copy from the device into page-locked memory. Durable is
when the checkpoint was written, fsynced, read back past the system's cache and named. Beside it
stands what the machine can do at best.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import torch
from gpu_device import is_cuda, synchronize
from gpu_part import Note
from gpu_training import REAL, TINY, DeviceTraining, How
from physical_limits import PhysicalLimits
from workload import Workload, directory_size

ENOUGH = 70.0
"""Seconds after which no further save is begun."""
SAVES = 3
"""After the first, which alone makes digests of the live tensors, too."""


def measure(device: str, *, small: bool, note: Note) -> None:
    """Save some times between steps, and look at what the machine can do at best."""
    sizes = TINY if small else REAL | {"batch": 8}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        note("file system", file_system(root), [("saved to", file_system(root))])
        size = saves(root / "run", Workload(**sizes), device, note)
        if is_cuda(device):
            note("copies", *copies(256 << 20))
        limits = PhysicalLimits(min(size, 2_000_000_000), root)
        seconds = {"write": limits.write(), "read": limits.read()}
        rates = {name: limits.size / each / 1e9 for name, each in seconds.items()}
        told = f"{rates['write']:.2f} GB/s written with fsync, {rates['read']:.2f} GB/s read"
        note("disk GB/s", rates, [("disk at best, past the cache", told)])


def saves(directory: Path, work: Workload, device: str, note: Note) -> int:
    """Save some times between steps; return the bytes of a checkpoint."""
    began = time.perf_counter()
    training = DeviceTraining(work, directory, How(device=device))
    run = training.run
    run.resume("")
    steps = training.steps(1_000)
    for _ in range(3):
        next(steps)  # the optimiser has its moments now
    assert run._open.saves.saver is not None  # noqa: SLF001  # the background has no other face
    wait(run._open.saves.saver._allocating)  # noqa: SLF001  # likewise
    synchronize(device)
    note("seconds to build and begin", time.perf_counter() - began, [])
    plain = statistics.median(timed(lambda: next(steps), device) for _ in range(5))
    note("seconds of a step", plain, [])
    found: list[dict[str, float]] = []
    while len(found) <= SAVES and time.perf_counter() - began < ENOUGH:
        found.append(one_save(training, steps, device))
        note("saves", found, [])
    size = directory_size(run.layout.checkpoints)
    note("bytes", size, [("state of model and moments", f"{size / 1e9:.2f} GB")])
    note("saves", found, rows_of(found, size, plain))
    steps.close()
    run.close()
    return size


def file_system(place: Path) -> str:
    """Return what kind of file system a directory is on, where the system tells."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    mounts = {Path(line.split()[1]): line.split()[2] for line in lines}
    return next(kind for at in (place, *place.parents) if (kind := mounts.get(at)))


def one_save(training: DeviceTraining, steps: Any, device: str) -> dict[str, float]:
    """Save after a step; return seconds until training went on, and until it was durable."""
    next(steps)
    run = training.run
    synchronize(device)
    began = time.perf_counter()
    run.save(wait=False)
    stall = time.perf_counter() - began
    beside = timed(lambda: next(steps), device)
    saver = run._open.saves.saver  # noqa: SLF001  # the background has no other face
    assert saver is not None
    saver.wait()
    saver.finish()
    durable = time.perf_counter() - began
    return {"stall": stall, "durable": durable, "step beside": beside}


def timed(action: Any, device: str) -> float:
    """Return the seconds of an action and of what it gave the device to do."""
    synchronize(device)
    began = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - began


def rows_of(found: list[dict[str, float]], size: int, plain: float) -> list[tuple[str, str]]:
    """Return the lines of the table."""
    first, *later = found
    later = later or [first]
    stall, durable, beside = (
        statistics.median(each[name] for each in later)
        for name in ("stall", "durable", "step beside")
    )
    rate, whole = size / stall / 1e9, size / durable / 1e9
    after = f"stall {stall:.3f} s ({rate:.1f} GB/s), durable {durable:.2f} s ({whole:.2f} GB/s)"
    return [
        ("first save (also proved by digests)",
         f"stall {first['stall']:.3f} s, durable {first['durable']:.2f} s"),
        (f"later saves, median of {len(later)}", after),
        ("a step of 8 samples", f"{plain:.3f} s; beside a save {beside:.3f} s"),
    ]  # fmt: skip


def copies(size: int) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Return how fast the device's memory is copied to the host, into both kinds of memory."""
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    rates = {}
    for name, pinned in (("page-locked", True), ("pageable", False)):
        target = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
        seconds = [timed(lambda t=target: t.copy_(source), "cuda") for _ in range(6)]
        rates[name] = size / statistics.median(seconds[1:]) / 1e9
    told = ", ".join(f"{name} {each:.1f} GB/s" for name, each in rates.items())
    return rates, [("copy from the device, at best", told)]
