"""A loop over a loader of its own, with `unbroken` and without: seconds a batch, side by side.

    python benchmarks/loops.py              # about a minute
    python benchmarks/loops.py --batches 4  # only shows that it runs

Both loops train alternately, a few batches each, so that what else the machine does meets both. What
is compared is the time from one batch to the next: reading, training, journal. Saves are left out, as they
cost what they cost (benchmarks/checkpoint.py).
"""

from __future__ import annotations

import argparse
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import unbroken

WIDTH, LAYERS, BATCH = 512, 12, 64
SAMPLES = 64 * BATCH


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


def measure(kind: str, workers: int, batches: int, directory: Path) -> tuple[float, float]:
    """Return seconds a batch without and with `unbroken`, medians over pairs of batches."""
    loops = [training(loader_of(kind, workers), each) for each in (None, directory)]
    seconds: list[list[float]] = [[], []]
    for loop in reversed(loops):  # ours first: it would refuse a stranger in its first steps
        for _ in range(5):
            next(loop)
    for _ in range(batches):
        for loop, taken in zip(loops, seconds, strict=True):
            began = time.perf_counter()
            next(loop)
            taken.append(time.perf_counter() - began)
    for loop in loops:
        loop.close()  # type: ignore[attr-defined]  # both are generators
    return median(seconds[0]), median(seconds[1])


def measure_unchanged(batches: int, directory: Path) -> tuple[float, float]:
    """Return the same of a loop as it is and under `@unbroken.protect`, an epoch of each in turn."""
    seconds: list[list[float]] = [[], []]
    for number in range(max(1, batches // (SAMPLES // BATCH))):
        for taken, place in ((seconds[0], None), (seconds[1], directory / str(number))):
            train = unchanged if place is None else unbroken.protect(place, save_every=0)(unchanged)
            epoch: list[float] = []
            train(loader_of("tensors", 0), epoch)
            taken.extend(epoch[5:])
    return median(seconds[0]), median(seconds[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=200, help="batches of each loop")
    batches = parser.parse_args().batches
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, {platform.processor() or platform.machine()}, 1 thread")
    print("| data set | workers | plain, ms a batch | with `unbroken` | more |")
    print("| --- | --- | --- | --- | --- |")
    for kind, workers in (("tensors", 0), ("augmented", 0), ("augmented", 1)):
        with tempfile.TemporaryDirectory() as place:
            plain, ours = measure(kind, workers, batches, Path(place, "run"))
        print(row(kind, workers, plain, ours))
    with tempfile.TemporaryDirectory() as place:
        print(row("tensors, `@unbroken.protect`", 0, *measure_unchanged(batches, Path(place))))


def row(kind: str, workers: int, plain: float, ours: float) -> str:
    """Return a row of the table."""
    more = f"{100 * (ours / plain - 1):+.1f} %"
    return f"| {kind} | {workers} | {1e3 * plain:.2f} | {1e3 * ours:.2f} | {more} |"


if __name__ == "__main__":
    main()
