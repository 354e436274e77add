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

SAMPLES = 22
EFFECTIVE = 6
MICRO = 2


@dataclass
class Training:
    """What is alive in one training."""

    run: unbroken.Run
    model: nn.Module
    optimizer: torch.optim.Optimizer
    report: unbroken.ResumeReport


def build(directory: Path, how: str = "auto", *, seed: int = 7, **options: Any) -> Training:
    """Build everything anew and resume."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.GELU(), nn.Linear(16, 1))
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
        **{"save_every": 3, "keep": 2, **options},
    )
    return Training(run, model, optimizer, run.resume(how))


def data(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sample `index`: four features and a target."""
    own = torch.Generator().manual_seed(index)
    features = torch.randn(4, generator=own)
    return features, features.sum().reshape(1)


def train(
    training: Training,
    until: int,
    at_micro_batch: Callable[[unbroken.Position], None] = lambda _position: None,
    micro: int = MICRO,
) -> None:
    """Train until `until` steps are completed."""
    training.model.train()
    for step in training.run.steps(until):
        total = step.total(lambda _index: {"n": 1})["n"]
        for each in step.micro_batches(micro):
            at_micro_batch(each.position)
            pairs = [data(i) for i in each.indices]
            features = torch.stack([pair[0] for pair in pairs])
            targets = torch.stack([pair[1] for pair in pairs])
            loss = ((training.model(features) - targets) ** 2).sum() / total
            step.backward(loss, error=loss.detach())
        step.update(clip_norm=1.0)


def main() -> None:
    """Train in a process of its own: directory, until, and where to kill or stop it."""
    directory, until, signal_name, step, samples = sys.argv[1:6]
    torch.set_num_threads(1)
    training = build(Path(directory))

    def at_micro_batch(position: unbroken.Position) -> None:
        if signal_name and (position.step, position.samples) == (int(step), int(samples)):
            os.kill(os.getpid(), getattr(signal, signal_name))

    try:
        train(training, int(until), at_micro_batch)
    except unbroken.Stopped as stopped:
        sys.exit(stopped.stop_code)


if __name__ == "__main__":
    main()
