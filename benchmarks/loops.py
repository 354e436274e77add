"""A loop over a loader of its own, with `unbroken` and without, side by side.

    python benchmarks/loops.py              # about three minutes on two idle cores
    python benchmarks/loops.py --part saves # some of the tables: loops, starts, saves
    python benchmarks/loops.py --batches 4  # only shows that it runs

1. The time from one batch to the next: reading, training, journal. Both loops train alternately, a batch
   each, so that what else the machine does meets both. Saves are left out.
2. The time to the first batch, and memory.
3. The saves of frameworks beside those of their protected trainings.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from framework_saves import Plan, save_table
from loop_start import Start, start_table, started
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import unbroken

WIDTH, LAYERS, BATCH = 512, 12, 64
SAMPLES = 64 * BATCH
ROWS = [("tensors", 0), ("augmented", 0), ("augmented", 1)]
"""Kind of data set, and number of workers."""
FEW = 10
"""Fewer batches only show that the benchmark runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a batch takes, in seconds; medians."""

    plain: float
    ours: float
    """With `unbroken`."""
    more_cpu: float
    """Processor time of the training's own thread that a batch takes more, pair by pair."""


class Augmented(Dataset[torch.Tensor]):
    """Draws from each kind of generator, as augmentations do."""

    def __init__(self) -> None:
        self.data = torch.randn(SAMPLES, WIDTH)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        scale = random.uniform(0.9, 1.1) + float(np.random.normal(0, 0.01))  # noqa: NPY002, S311
        return self.data[index].roll(int(torch.randint(3, ()))) * scale


def loader_of(kind: str, workers: int) -> DataLoader[Any]:
    """Return a loader over tensors, or over samples that are augmented."""
    dataset: Any = (
        Augmented() if kind == "augmented" else TensorDataset(torch.randn(SAMPLES, WIDTH))
    )
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers)


def built() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model and its optimizer."""
    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        layers += [nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU(), nn.Dropout(0.1)]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> torch.Tensor:
    """Train on a batch; return its loss."""
    loss: torch.Tensor = model(batch if isinstance(batch, torch.Tensor) else batch[0])
    loss = loss.square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def unchanged(loader: Any, seconds: list[float]) -> None:
    """Train for an epoch, in a loop that knows nothing of `unbroken`; note the time of each batch."""
    model, optimizer = built()
    began = time.perf_counter()
    for _ in range(1):
        for batch in loader:
            update(model, optimizer, batch)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()


def training(loader: Any, directory: Path | None) -> Iterator[None]:
    """Train for ever; yield after each batch."""
    model, optimizer = built()

    def step(batch: Any) -> torch.Tensor:
        return update(model, optimizer, batch)

    if directory is None:
        while True:
            for batch in loader:
                step(batch)
                yield
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, save_every=0)
    for batch in run.batches(1 << 40):
        run.log(loss=step(batch))
        yield


def measure(kind: str, workers: int, batches: int, directory: Path) -> Pace:
    """Return what a batch takes without and with `unbroken`."""
    loops = [training(loader_of(kind, workers), each) for each in (None, directory)]
    seconds: list[list[float]] = [[], []]
    cpu: list[list[float]] = [[], []]
    for loop in reversed(loops):  # ours first: it would refuse a stranger in its first steps
        for _ in range(5):
            next(loop)
    for _ in range(batches):
        for loop, taken, used in zip(loops, seconds, cpu, strict=True):
            began, used_before = time.perf_counter(), time.thread_time()
            next(loop)
            used.append(time.thread_time() - used_before)
            taken.append(time.perf_counter() - began)
    for loop in loops:
        loop.close()  # type: ignore[attr-defined]  # both are generators
    more = median(b - a for a, b in zip(*cpu, strict=True))
    return Pace(plain=median(seconds[0]), ours=median(seconds[1]), more_cpu=more)


def measure_start(kind: str, workers: int, directory: Path | None, batches: int) -> Start:
    """Return how a loop begins, without a directory one that knows nothing of `unbroken`."""
    loader, (model, optimizer) = loader_of(kind, workers), built()
    runs: list[unbroken.Run] = []

    def plain() -> Iterator[None]:
        while True:
            for batch in loader:
                yield
                update(model, optimizer, batch)

    def ours() -> Iterator[None]:
        assert directory is not None
        run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, save_every=0)
        runs.append(run)
        for batch in run.batches(1 << 40):
            yield
            run.log(loss=update(model, optimizer, batch))

    def save() -> None:
        for each in runs:
            each.save_in_background(at_once=True)

    def load() -> object:
        return None if directory is None else unbroken.Run

    return started(load, plain if directory is None else ours, save, batches)


def measure_unchanged(batches: int, directory: Path) -> Pace:
    """Return the same of a loop as it is and under `@unbroken.protect`, an epoch of each in turn."""
    seconds: list[list[float]] = [[], []]
    cpu: list[float] = []
    for number in range(max(1, batches // (SAMPLES // BATCH))):
        for taken, place in ((seconds[0], None), (seconds[1], directory / str(number))):
            train = unchanged if place is None else unbroken.protect(place, save_every=0)(unchanged)
            epoch: list[float] = []
            before = time.thread_time()
            train(loader_of("tensors", 0), epoch)
            cpu.append((time.thread_time() - before) / len(epoch))
            taken.extend(epoch[5:])
    more = median(b - a for a, b in zip(cpu[::2], cpu[1::2], strict=True))
    return Pace(plain=median(seconds[0]), ours=median(seconds[1]), more_cpu=more)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=200, help="batches of each loop")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="which tables")
    given = parser.parse_args()
    torch.set_num_threads(1)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    machine = platform.processor() or platform.machine()
    print(f"PyTorch {torch.__version__}, {machine}, 1 thread, load average {load}")
    for part in given.part:
        print()
        for line in PARTS[part](given.batches):
            print(line, flush=True)


def paces(batches: int) -> Iterator[str]:
    """Yield the lines of the first table."""
    yield "| data set | workers | plain, ms a batch | with `unbroken` | more | more CPU, ms |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind, workers in ROWS:
        with tempfile.TemporaryDirectory() as place:
            yield row(kind, workers, measure(kind, workers, batches, Path(place, "run")))
    with tempfile.TemporaryDirectory() as place:
        yield row("tensors, `@unbroken.protect`", 0, measure_unchanged(batches, Path(place)))


def starts(batches: int) -> Iterator[str]:
    """Yield the lines of the second table; of a few batches only its first row."""
    yield from start_table(ROWS if batches >= FEW else ROWS[:1], measure_start, min(batches, 10))


def saves(batches: int) -> Iterator[str]:
    """Yield the lines of the third table; of a few batches with a small state."""
    is_small = batches < FEW
    return save_table(Plan(layers=1 if is_small else 10, steps_between=2 if is_small else 20))


PARTS = {"loops": paces, "starts": starts, "saves": saves}
"""The tables, by name."""


def row(kind: str, workers: int, pace: Pace) -> str:
    """Return a row of the first table."""
    more = f"{100 * (pace.ours / pace.plain - 1):+.1f} %"
    return (
        f"| {kind} | {workers} | {1e3 * pace.plain:.2f} | {1e3 * pace.ours:.2f} | {more} | "
        f"{1e3 * pace.more_cpu:+.2f} |"
    )


if __name__ == "__main__":
    main()
