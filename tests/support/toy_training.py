"""A small training with everything that can be lost: dropout, momentum, schedule, accumulation."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unbroken
from unbroken.journal.past import Reference

SAMPLES = 22
EFFECTIVE = 6
MICRO = 2


@dataclass
class Training:
    """What is alive in one training."""

    run: unbroken.Run
    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    report: unbroken.ResumeReport


def build(
    directory: Path,
    how: str = "auto",
    *,
    seed: int = 7,
    run_seed: int | None = None,
    dropout: float = 0.5,
    **options: Any,
) -> Training:
    """Build everything anew and resume; `seed` is the order's, `run_seed` the run's."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(dropout), nn.GELU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    schedule = unbroken.Schedule(
        optimizer, unbroken.warmup_cosine(3, 40), {"warmup": 3, "total": 40}
    )
    ids = [f"sample-{i}" for i in range(SAMPLES)]
    order = unbroken.StepBatches(ids, [i * 7 % 11 for i in range(SAMPLES)], EFFECTIVE, seed)
    run = unbroken.Run(
        directory,
        order=order,
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        seed=run_seed,
        **{"save_every": 3, "keep": 2, **options},
    )
    return Training(run, model, optimizer, run.resume(how))


def data(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sample `index`: four features and a target."""
    own = torch.Generator().manual_seed(index)
    features = torch.randn(4, generator=own)
    return features, features.sum().reshape(1)


def no_hook(given: object) -> None:
    """Do nothing."""


def train(
    training: Training,
    until: int,
    at_micro_batch: Callable[[unbroken.Position], object] = no_hook,
    micro: int = MICRO,
    after_step: Callable[[unbroken.StepResult], object] = no_hook,
) -> None:
    """Train until `until` steps are completed.

    Args:
        training: What `build` returned.
        until: Steps.
        at_micro_batch: Called before each forward pass.
        micro: Samples of a micro-batch.
        after_step: Called after each update, inside the step's body.
    """
    training.model.train()
    for step in training.run.steps(until):
        after_step(train_step(training, step, at_micro_batch, micro))


def train_step(
    training: Training,
    step: unbroken.Step,
    at_micro_batch: Callable[[unbroken.Position], object] = no_hook,
    micro: int = MICRO,
) -> unbroken.StepResult:
    """Train one step."""
    total = step.total(lambda _: {"n": 1})["n"]
    for each in step.micro_batches(micro):
        at_micro_batch(each.position)
        pairs = [data(i) for i in each.indices]
        features = torch.stack([pair[0] for pair in pairs])
        targets = torch.stack([pair[1] for pair in pairs])
        loss = ((training.model(features) - targets) ** 2).sum() / total
        step.backward(loss, error=loss.detach())
    return step.update(clip_norm=1.0)


def references_of(training: Training) -> dict[int, Reference]:
    """Return what the repeated steps are compared with, by step."""
    replay = training.run.monitor._replay  # noqa: SLF001  # no public way shows it
    assert replay is not None
    return replay._references  # noqa: SLF001  # likewise


def child(directory: Path, until: int, signal_name: str, step: int, samples: int) -> None:
    """Train in a process of its own, which signals itself at a position; exit as a program would."""
    torch.set_num_threads(1)
    training = build(directory)

    def at_micro_batch(position: unbroken.Position) -> None:
        if signal_name and (position.step, position.samples) == (step, samples):
            os.kill(os.getpid(), getattr(signal, signal_name))

    try:
        train(training, until, at_micro_batch)
        training.run.close()
    except unbroken.Stopped as stopped:
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    given = sys.argv[1:6]
    child(Path(given[0]), int(given[1]), given[2], int(given[3]), int(given[4]))
