"""Schedules of PyTorch: what moves of itself is state, and a curve that was accepted acts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

import unbroken

Scheduled = Callable[[torch.optim.Optimizer], Any]


class Counting:
    """A factor that depends on how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: int) -> float:
        """Return a factor below the one before."""
        self.calls += 1
        return 1 / self.calls


def rates(
    directory: Path, schedule: Scheduled, until: int, accept: tuple[str, ...] = ()
) -> list[float]:
    """Train to a step and return the rate that each update was made with."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches([str(i) for i in range(40)], None, 4, 3),
        model=model,
        optimizer=optimizer,
        scheduler=schedule(optimizer),
        save_every=0,
    )
    run.resume(accept=accept)
    found = []
    for step in run.steps(until):
        for micro in step.micro_batches(4):
            x = torch.tensor([[i / 40, 1.0] for i in micro.indices])
            step.backward(model(x).square().sum() / len(step.indices))
        found.append(optimizer.param_groups[0]["lr"])
        step.update()
    run.close()
    return found


def test_a_function_that_counts_is_resumed_exactly(tmp_path: Path) -> None:
    """Its counter came from training: it is state, and no setting that differs."""

    def schedule(optimizer: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, Counting())

    whole = rates(tmp_path / "whole", schedule, 8)
    parts = [rates(tmp_path / "run", schedule, until) for until in (3, 5, 8)]
    assert whole == [each for part in parts for each in part]


def in_sequence(milestone: int) -> Scheduled:
    def schedule(optimizer: torch.optim.Optimizer) -> SequentialLR:
        both = [ConstantLR(optimizer, 0.5, 100), StepLR(optimizer, 50)]
        return SequentialLR(optimizer, both, [milestone])

    return schedule


def chained(gamma: float) -> Scheduled:
    return lambda optimizer: ChainedScheduler(
        [ConstantLR(optimizer, 0.5, 2), ExponentialLR(optimizer, gamma)]
    )


@pytest.mark.parametrize(
    ("was", "new", "told"),
    [
        pytest.param(
            lambda o: OneCycleLR(o, 0.1, total_steps=20),
            lambda o: OneCycleLR(o, 0.1, total_steps=40),
            "total_steps: is 40, was 20",
            id="a function of its counter",
        ),
        pytest.param(
            lambda o: StepLR(o, 50),
            lambda o: StepLR(o, 5),
            "step_size: is 5, was 50",
            id="by steps",
        ),
        pytest.param(in_sequence(50), in_sequence(5), r"milestones\.0: is 5, was 50", id="nested"),
    ],
)
def test_another_curve_acts_from_the_next_update_on_when_accepted(
    tmp_path: Path, was: Scheduled, new: Scheduled, told: str
) -> None:
    """It is refused until then; afterwards the run is one of the new curve."""
    rates(tmp_path / "run", was, 4)
    with pytest.raises(unbroken.ResumeRefused, match=told):
        rates(tmp_path / "run", new, 8)
    # Of PyTorch's schedules the rate in force is state: the next is the first of the new curve.
    taken = rates(tmp_path / "run", new, 8, accept=("schedule-unchanged",))
    assert rates(tmp_path / "new", new, 8)[5:] == taken[1:]
    assert len(rates(tmp_path / "run", new, 9)) == 1


def test_a_curve_that_goes_on_from_the_rate_in_force_does_so(tmp_path: Path) -> None:
    """Where each rate follows from the one before, the new curve begins at the saved rate."""
    before = rates(tmp_path / "run", chained(0.9), 4)
    after = rates(tmp_path / "run", chained(0.5), 8, ("schedule-unchanged",))
    assert [before[-1] * 0.9 * 0.5**i for i in range(4)] == pytest.approx(after)
