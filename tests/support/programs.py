"""A small program that changes itself while it trains, and a start of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import nn

import unbroken

STEPS: Final = 14
DATA: Final = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))


class Program(Protocol):
    """Objects, and what their loop does at the beginning of each step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer

    def parts(self) -> dict[str, Any]:
        """Return what else is declared."""
        ...

    def begin(self, step: int) -> None:
        """Change something at the beginning of a step."""
        ...


class Plain:
    """A small net with AdamW; subclasses change it on the way."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model: Any = nn.Sequential(
            nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)
        )
        self.optimizer: torch.optim.Optimizer = self.build(list(self.model.parameters()))

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=0.02)

    def parts(self) -> dict[str, Any]:
        return {}

    def begin(self, step: int) -> None:
        pass


class Training:
    """A start of a program."""

    def __init__(self, program: Callable[[], Program], directory: Path) -> None:
        self.program = program()
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches([str(i) for i in range(40)], None, 8, 3),
            model=self.program.model,
            optimizer=self.program.optimizer,
            save_every=0,
            **self.program.parts(),
        )
        self.run.resume()

    def train(self, until: int, stop: int = 0, left_at: int = STEPS + 1) -> None:
        """Train; ask for a stop in the middle of step `stop`, or leave at step `left_at`."""
        for step in self.run.steps(until):
            if step.number == left_at:
                return
            self.program.begin(step.number)
            for micro in step.micro_batches(4):
                indices = torch.tensor(micro.indices)
                is_bag = isinstance(self.program.model[0], nn.EmbeddingBag)  # type: ignore[index]
                given = indices[:, None] if is_bag else DATA[indices]
                step.backward(self.program.model(given).square().sum() / 8)
                if step.number == stop:
                    self.run.stop.ask("a test")
            step.update(clip_norm=0.5)

    def state(self) -> dict[str, Any]:
        return self.run.state.capture()
