"""Programs that bring parts of any kind to a run, each start built from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unbroken
from unbroken.run.flat_state import flat
from unbroken.state.digest import tensor_digest

STEPS, STOP = 4, 2
INPUTS = torch.randn(16, 8, generator=torch.Generator().manual_seed(3))


def nothing(_step: int) -> None:
    """Do nothing after a step."""


@dataclass
class Kit:
    """What a program brings to its run."""

    model: nn.Module
    parts: dict[str, Any] = field(default_factory=dict)
    after: Callable[[int], None] = nothing
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None


class Train:
    """One process of a program, from scratch until a step; `state` is what it then has."""

    def __init__(self, build: Callable[[], Kit], directory: Path, until: int) -> None:
        torch.manual_seed(0)
        kit = build()
        self.model = kit.model
        optimizer = kit.optimizer or torch.optim.SGD(kit.model.parameters(), lr=0.01, momentum=0.9)
        order = unbroken.StepBatches([f"s{i}" for i in range(16)], None, 8, seed=1)
        run = unbroken.Run(
            directory, order=order, model=kit.model, optimizer=optimizer, save_every=0, **kit.parts
        )
        run.resume()
        kit.model.train()
        forward = kit.forward or kit.model
        for step in run.steps(until):
            for micro in step.micro_batches(8):
                step.backward(forward(INPUTS[list(micro.indices)]).square().mean())
            step.update()
            kit.after(step.number)
        values, tensors = flat(run.state.capture())
        self.state = values, {name: tensor_digest(each) for name, each in tensors.items()}
        run.close()


def assert_exact(
    build: Callable[[], Kit], tmp_path: Path, again: Callable[[], Kit] | None = None
) -> None:
    whole = Train(build, tmp_path / "whole", STEPS)
    Train(build, tmp_path / "stopped", STOP)
    resumed = Train(again or build, tmp_path / "stopped", STEPS)
    assert whole.state == resumed.state


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))


class Packed(nn.Module):
    """Saves in a form of its own, and a count that is no tensor of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 8))
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return (x @ self.weight.T) / self.count

    def _save_to_state_dict(self, destination: Any, prefix: str, _keep_vars: bool) -> None:
        destination[f"{prefix}packed"] = self.weight.detach().clone().view(torch.int32)
        destination[f"{prefix}count"] = torch.tensor(self.count)

    def _load_from_state_dict(self, state: Any, prefix: str, *_rest: Any) -> None:
        with torch.no_grad():
            self.weight.copy_(state[f"{prefix}packed"].view(torch.float32))
        self.count = int(state[f"{prefix}count"])


class Phases:
    """Builds its second object when the second phase begins."""

    def __init__(self) -> None:
        self.steps = 0
        self.second: dict[str, float] | None = None

    def step(self) -> None:
        self.steps += 1
        if self.steps >= STOP:
            self.second = {"score": (self.second or {}).get("score", 0.0) + 0.1}

    def state_dict(self) -> dict[str, Any]:
        late = {} if self.second is None else {"second": self.second}
        return {"steps": self.steps, **late}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.second = state["steps"], state.get("second")
