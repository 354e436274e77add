"""Part 3: tokens a second, memory and model FLOPs utilisation of the real model in bf16.

A round is an epoch over eight step batches of 64 samples, evenly spaced from short to long ones.
Tokens are targets: text tokens, codes, and a stop for each; operations are counted by
`gpu_flops.py`. Neither counts padding.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_device import (
    be_deterministic,
    fresh_peak,
    is_cuda,
    matmul_operations,
    peak_gib,
    peak_operations,
    reserved_gib,
    synchronize,
)
from gpu_flops import operations, trained_numbers
from gpu_part import Note
from gpu_training import REAL, TINY, DeviceTraining, How
from length_mix import bucketed, padded_share
from workload import Workload

ROUNDS = 5
PROFILED = 22
"""Kernels that are shown."""


def measure(device: str, *, small: bool, note: Note) -> None:
    """Measure our training as it is."""
    measure_present(device, small=small, note=note)


def measure_present(device: str, *, small: bool, note: Note, compiled: str = "") -> None:
    """Measure our training, its blocks compiled by a back end or not."""
    name = "ours, compiled" if compiled else "ours"
    sizes = TINY if small else REAL
    if compiled and not is_cuda(device):
        sizes |= {"dropout": 0.0}  # with it, a processor takes ways of our own
    work = Workload(**sizes)
    how = How(device=device, workers=0 if small else 4, compiled=compiled)
    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        training = DeviceTraining(work, Path(temporary) / "run", how)
        training.run.resume("")
        steps = training.steps(1_000_000)
        note("seconds to build", time.perf_counter() - began, [])
        fresh_peak(device)
        speed(name, work, lambda: next(steps), device, note)
        note("halved", training.halved, [])
        shares = padded_share(
            training.lengths, bucketed(training.lengths, work.batch, "tight"), "tight"
        )
        note("padded share", shares, [(f"{name}: padding", f"{shares:.1%} of the rows")])
        if not compiled:
            note("products", *products(device, small=small))
            note("deterministic", *deterministic(work, lambda: next(steps), device))
        note("profile", *profile(lambda: next(steps), work.steps, device))
        steps.close()
        training.run.close()


def speed(name: str, work: Workload, step: Callable[[], object], device: str, note: Note) -> None:
    """Train a round to warm up and some to be timed."""
    warm = [timed(step, device) for _ in range(work.steps)]
    note("seconds of the first steps", warm, [
        (f"{name}: first round (warming up)", f"{sum(warm):.1f} s, first step {warm[0]:.1f} s"),
    ])  # fmt: skip
    rounds, each_step = [], []
    for _ in range(2 if not is_cuda(device) else ROUNDS):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(work.steps):
            at = time.perf_counter()
            step()
            each_step.append(time.perf_counter() - at)
        synchronize(device)
        rounds.append(time.perf_counter() - began)
    seconds = statistics.median(rounds)
    mix, config = work.lengths(), work.config()
    counted = operations(config, work.vocabulary, mix)
    peak, source = peak_operations(device)
    tokens, share = mix.tokens / seconds, counted.total / seconds / peak
    memory = peak_gib(device)
    note("speed", {
        "rounds": rounds, "steps": each_step, "tokens a round": mix.tokens,
        "tokens a second": tokens, "operations a round": counted.total,
        "of the heads": counted.heads / counted.total,
        "of the attention": counted.attention / counted.total,
        "utilisation": share, "peak": peak, "peak is": source, "peak GiB": memory,
        "reserved GiB": reserved_gib(device),
        "trained numbers": trained_numbers(config, work.vocabulary), "workload": REAL,
    }, [
        (f"{name}: tokens a second",
         f"{tokens:,.0f} (rounds of {min(rounds):.2f} - {max(rounds):.2f} s, {len(rounds)} of them)"),
        (f"{name}: model FLOPs utilisation", f"{share:.1%} of {peak / 1e12:.4g} TFLOP/s ({source})"),
        (f"{name}: memory at its peak",
         f"{memory:.1f} GiB; {reserved_gib(device):.1f} GiB with free pieces"),
    ])  # fmt: skip


def deterministic(
    work: Workload, step: Callable[[], object], device: str
) -> tuple[list[float], list[tuple[str, str]]]:
    """Return the seconds of rounds with deterministic algorithms only."""
    be_deterministic(fill=False)
    rounds = [sum(timed(step, device) for _ in range(work.steps)) for _ in range(3)][1:]
    be_deterministic(is_on=False)
    tokens = work.lengths().tokens / statistics.median(rounds)
    return rounds, [("ours, deterministic algorithms", f"{tokens:,.0f} tokens a second")]


def timed(step: Callable[[], object], device: str) -> float:
    """Return the seconds of a step."""
    synchronize(device)
    began = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - began


def products(device: str, *, small: bool) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Return how fast the matrix products of this model run by themselves."""
    width, rows = (32, 64) if small else (1280, 23_424)
    shapes = {
        "large and square": (8192 if not small else 64,) * 3,
        "attention in": (rows, width, 3 * width),
        "attention out": (rows, width, width),
        "feed-forward in": (rows, width, 4 * width),
        "feed-forward out": (rows, 4 * width, width),
        "gradient of a weight": (width, rows, 4 * width),
        "mel head, 8194": (8192 if not small else 64, width, 8194),
        "mel head, 8256": (8192 if not small else 64, width, 8256),
        "text head, 12001": (4096 if not small else 64, width, 12001),
    }
    rates = {name: matmul_operations(device, *shape) / 1e12 for name, shape in shapes.items()}
    return rates, [
        ("matrix product alone, TFLOP/s", f"{name} {shapes[name]}: {each:.0f}")
        for name, each in rates.items()
    ]


def profile(
    step: Callable[[], object], steps: int, device: str
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return what a round spends the device's time on, for a step on average."""
    if not is_cuda(device):
        step()
        return {}, []
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    try:
        with profiled(activities=[ProfilerActivity.CUDA]) as found:
            for _ in range(steps):
                step()
            synchronize(device)
        kernels = [
            (each.key, each.self_device_time_total / 1e3 / steps, each.count / steps)
            for each in found.key_averages()
        ]
    except Exception as error:  # noqa: BLE001  # a profile is an extra
        return {"failed": str(error)}, [("profile", f"failed: {error}")]
    kernels.sort(key=lambda each: -each[1])
    busy = sum(each[1] for each in kernels)
    rows = [("a step on average", f"the device is busy for {busy:.1f} ms of it")]
    rows += [
        (f"  {spent:8.2f} ms in {count:6.1f} calls", key[:150])
        for key, spent, count in kernels[:PROFILED]
    ]
    return {"busy ms": busy, "kernels": kernels[:80]}, rows
