"""The loops of well-known examples, resumed in their own way and in ours: a program that may be killed.

    python loops_people_have.py KIND WAY DIRECTORY [KILLED_AT]

WAY is `own` or `unbroken`. The process gets SIGKILL at its KILLED_AT-th update. Started again, it goes on;
at its end it prints a digest of the weights. Each trains a model with dropout on shuffled samples, as most
trainings do, and saves at every fourth update.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

from support import loops_of_frameworks
from support.loop_model import DATA, EPOCHS, SAVE_EVERY, built, update

NEEDS = {"torchdata": "torchdata", "accelerate": "accelerate", "lightning": "lightning",
         "transformers": "transformers"}  # fmt: skip
"""Packages beside torch, by kind."""


def loop_own(out: Path) -> nn.Module:
    """The loop of the tutorials: a dict by torch.save, the next epoch at a resume."""
    model, optimizer, schedule = built()
    loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    first, file = 0, out / "checkpoint.pt"
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"] + 1
    for epoch in range(first, EPOCHS):
        for (batch,) in loader:
            update(model, optimizer, schedule, batch)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        torch.save({**{n: p.state_dict() for n, p in parts.items()}, "epoch": epoch}, file)
    return model


def loop_unbroken(out: Path) -> nn.Module:
    """The same, its epochs and batches given out by a run."""
    import unbroken

    model, optimizer, schedule = built()
    loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    run = unbroken.Run(
        out,
        data=loader,
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        save_every=SAVE_EVERY,
    )
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            update(model, optimizer, schedule, batch)
    return model


def unchanged_unbroken(out: Path) -> nn.Module:
    """The same, its lines as they are."""
    import unbroken

    def train() -> nn.Module:
        model, optimizer, schedule = built()
        loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
        for _ in range(EPOCHS):
            for (batch,) in loader:
                update(model, optimizer, schedule, batch)
        return model

    return unbroken.protect(out, save_every=SAVE_EVERY)(train)()


def drawn() -> torch.Tensor:
    """Return a batch that the loop draws itself."""
    return DATA[torch.randint(len(DATA), (8,))]


def nanogpt_own(out: Path) -> nn.Module:
    """The loop of nanoGPT: it draws its batches, and saves its number of iterations."""
    model, optimizer, schedule = built()
    first, file = 0, out / "ckpt.pt"
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["iter_num"]
        schedule.last_epoch = first
    for number in range(first, 18):
        if number and number % SAVE_EVERY == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "iter_num": number}, file)
        update(model, optimizer, schedule, drawn())
    return model


def nanogpt_unbroken(out: Path) -> nn.Module:
    """The same, its iterations given out by a run."""
    import unbroken

    model, optimizer, schedule = built()
    run = unbroken.Run(
        out, model=model, optimizer=optimizer, scheduler=schedule, save_every=SAVE_EVERY
    )
    for _ in run.iterations(18):
        update(model, optimizer, schedule, drawn())
    return model


def stateful_loader() -> Any:
    """Return a loader of torchdata."""
    return import_module("torchdata.stateful_dataloader").StatefulDataLoader(
        TensorDataset(DATA), 8, shuffle=True
    )


def torchdata_own(out: Path) -> nn.Module:
    """A StatefulDataLoader, saved with the parts in the middle of epochs."""
    model, optimizer, schedule = built()
    loader = stateful_loader()
    parts: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "schedule": schedule,
        "data": loader,
    }
    first, done, file = 0, 0, out / "checkpoint.pt"
    if file.exists():
        saved = torch.load(file, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first, done = saved["epoch"], saved["done"]
    for epoch in range(first, EPOCHS):
        for (batch,) in loader:
            update(model, optimizer, schedule, batch)
            done += 1
            if done % SAVE_EVERY == 0:
                state = {n: p.state_dict() for n, p in parts.items()}
                torch.save({**state, "epoch": epoch, "done": done}, file)
    return model


def torchdata_unbroken(out: Path) -> nn.Module:
    """The same, its batches given out by a run."""
    import unbroken

    model, optimizer, schedule = built()
    loader = stateful_loader()
    run = unbroken.Run(
        out,
        data=loader,
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        save_every=SAVE_EVERY,
    )
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            update(model, optimizer, schedule, batch)
    return model


def kill_at(update_number: int) -> None:
    """Kill this process at one of its updates."""
    updates: Iterator[int] = iter(range(1, 10**6))

    def after(*_: Any) -> None:
        if next(updates) == update_number:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(after)


def main() -> None:
    """Train, and print a digest of the weights."""
    from unbroken.state.digest import tensor_digest

    kind, way, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 4:
        kill_at(int(sys.argv[4]))
    known = {**vars(loops_of_frameworks), **globals()}
    train: Callable[[Path], nn.Module] = known[f"{kind}_{way}"]
    model = train(out)
    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    sys.stdout.write(f"weights {tensor_digest(flat)}\n")


if __name__ == "__main__":
    main()
