"""A schedule that a loop moves: another curve in the code is met, and its own movement raises no alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.checks.schedule_settings import AT_BIRTH, changed_settings
from unbroken.checks.state_summary import StateSummary

Scheduled = Callable[[Any], Any]


def train(
    directory: Path,
    schedule: Scheduled,
    batches: int,
    accept: tuple[str, ...] = (),
    rate: float = 0.1,
) -> list[float]:
    """Train to a batch, the schedule stepped after each; return the rate of each update."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    scheduler = schedule(optimizer)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), batch_size=4)
    run = unbroken.Run(
        directory, data=loader, model=model, optimizer=optimizer, scheduler=scheduler
    )
    run.resume("auto", accept=accept)
    rates = []
    for (batch,) in run.batches(until=batches):
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.append(optimizer.param_groups[0]["lr"])
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss.item())
        else:
            scheduler.step()
    run.close()
    return rates


def warm(optimizer: Any) -> Any:
    """Return a warm-up, and a cosine after it."""
    parts = [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, 20)]
    return SequentialLR(optimizer, parts, [3])


CURVES: dict[str, Scheduled] = {
    "step": lambda o: StepLR(o, 3),
    "milestones": lambda o: MultiStepLR(o, [2, 5]),
    "cosine": lambda o: CosineAnnealingLR(o, 12),
    "restarts": lambda o: CosineAnnealingWarmRestarts(o, 4, 2),
    "one cycle": lambda o: OneCycleLR(o, 0.5, total_steps=20),
    "cyclic": lambda o: CyclicLR(o, 0.01, 0.2, step_size_up=3),
    "polynomial": lambda o: PolynomialLR(o, 12, 2.0),
    "lambda": lambda o: LambdaLR(o, lambda step: 1 / (step + 1)),
    "plateau": lambda o: ReduceLROnPlateau(o, patience=0, threshold=0.5),
    "warm-up": warm,
}


@pytest.mark.parametrize("name", CURVES)
def test_the_same_curve_goes_on(name: str, tmp_path: Path) -> None:
    """What a schedule moves of itself is no other setting."""
    whole = train(tmp_path / "whole", CURVES[name], 9)
    first = train(tmp_path / "stopped", CURVES[name], 4)
    again = train(tmp_path / "stopped", CURVES[name], 7)
    assert whole == first + again + train(tmp_path / "stopped", CURVES[name], 9)


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (CURVES["cosine"], lambda o: CosineAnnealingLR(o, 24), "scheduler.T_max: is 24, was 12"),
        (CURVES["step"], lambda o: StepLR(o, 5), "scheduler.step_size: is 5, was 3"),
        (
            CURVES["one cycle"],
            lambda o: OneCycleLR(o, 0.5, total_steps=40),
            "scheduler.total_steps: is 40, was 20",
        ),
        (
            CURVES["plateau"],
            lambda o: ReduceLROnPlateau(o, patience=3, threshold=0.5),
            "scheduler.patience: is 3, was 0",
        ),
    ],
)
def test_another_curve_is_refused_and_acts_where_it_is_accepted(
    before: Scheduled, after: Scheduled, path: str, tmp_path: Path
) -> None:
    """The message names the setting, with both values."""
    train(tmp_path, before, 4)
    with pytest.raises(unbroken.ResumeRefused, match=path) as error:
        train(tmp_path, after, 8)
    assert 'accept=["schedule-unchanged"]' in str(error.value)
    train(tmp_path, after, 6, accept=("schedule-unchanged",))
    train(tmp_path, after, 8)


@pytest.mark.parametrize("name", [each for each in CURVES if each not in ("plateau", "cyclic")])
def test_an_accepted_rate_is_that_of_the_new_curve(name: str, tmp_path: Path) -> None:
    """From the next update on, as if the run had begun with it; later starts need not accept it again."""
    curve = CURVES[name]
    train(tmp_path / "run", curve, 5)
    new = train(tmp_path / "run", curve, 8, ("schedule-unchanged",), rate=0.3)
    new += train(tmp_path / "run", curve, 9, rate=0.3)
    assert new == pytest.approx(train(tmp_path / "new", curve, 9, rate=0.3)[5:], rel=1e-12)


def test_an_accepted_setting_is_the_schedules(tmp_path: Path) -> None:
    """A rate that falls at each fifth batch instead of each third."""
    train(tmp_path, CURVES["step"], 2)
    rates = train(tmp_path, lambda o: StepLR(o, 5), 7, accept=("schedule-unchanged",))
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_run_of_an_earlier_version_is_not_refused() -> None:
    """It noted no settings of a schedule that the loop moves; they are compared from the next save on."""
    values = {"scheduler.T_max": 12}
    built = StateSummary(kinds={"scheduler": "schedule of the loop"}, values=values)
    old = StateSummary(kinds={"scheduler": "other"}, values=values, evidence={AT_BIRTH: {}})
    assert changed_settings(old, built) == set()
