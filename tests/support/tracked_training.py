"""A training that is shown by trackers, and kills its process at a given batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

import unbroken

EPOCHS = 3
BATCHES = 8
STEPS = EPOCHS * BATCHES
KILL = 9


def train(
    directory: Path,
    trackers: Sequence[unbroken.Tracker],
    death: int = 0,
    *,
    at: str = "batch",
    is_closed: bool = True,
) -> torch.nn.Module:
    """Train; die in the batch of this number, or in the epoch's work after it (`at="work"`).

    Unless `is_closed`, the run is left to close itself at the program's end.
    """
    torch.manual_seed(2)
    data = torch.randn(8 * BATCHES, 5, generator=torch.Generator().manual_seed(1))
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    loader = DataLoader(TensorDataset(data), batch_size=8, shuffle=True)
    run = unbroken.Run(
        directory, data=loader, model=model, optimizer=optimizer, scheduler=schedule, save_every=3,
        trackers=trackers,
    )  # fmt: skip
    with closing(run) if is_closed else nullcontext():
        _loop(run, model, optimizer, data, lambda step, place: die(death, at, step, place))
    return model


def _loop(
    run: unbroken.Run,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data: torch.Tensor,
    event: Callable[[int, str], None],
) -> None:
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            loss = model(batch).square().mean()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss, grad_norm=norm)
            event(run.position.step + 1, "batch")
        with torch.no_grad():
            run.metrics = {"val_loss": model.eval()(data).square().mean().item()}
        model.train()
        event(run.position.step, "work")


def die(death: int, at: str, step: int, place: str) -> None:
    """End this process as `kill -9` does, if this is the step and the place."""
    if (death, at) == (step, place):
        os.kill(os.getpid(), KILL)


def main(directory: str, kinds: str, death: str, at: str) -> None:
    """Train with trackers that are ready, by name, which store in `<directory>/shown`."""
    shown = Path(directory) / "shown"
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"directory": shown / "tensorboard"},
        "wandb": {"dir": shown, "mode": "offline"},
        "mlflow": {"tracking_uri": (shown / "mlflow").as_uri()},
        "trackio": {},
    }
    shown.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    os.environ["TRACKIO_DIR"] = str(shown / "trackio")
    trackers = [
        unbroken.tracker(kind, project="tests", **options[kind]) for kind in kinds.split(",")
    ]
    train(Path(directory) / "run", trackers, int(death), at=at, is_closed=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
