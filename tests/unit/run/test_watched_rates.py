"""After a resume every group's learning rate is held against its curve, update by update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import unbroken
from unbroken.watch.watch import Remark

Scheduled = Callable[[torch.optim.Optimizer], Any]


def ours(optimizer: torch.optim.Optimizer, total: int = 40) -> unbroken.Schedule:
    return unbroken.Schedule(optimizer, unbroken.warmup_cosine(2, total), {"total": total})


def torchs(optimizer: torch.optim.Optimizer) -> CosineAnnealingLR:
    return CosineAnnealingLR(optimizer, 40)


class Training:
    """A training whose optimiser has two groups with rates of their own.

    Args:
        directory: The run's.
        schedule: Builds the schedule.
        rate: What a group holds its rate in.
    """

    def __init__(
        self, directory: Path, schedule: Scheduled = ours, rate: Callable[[float], Any] = float
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1)
        groups = [
            {"params": [self.model.weight], "lr": rate(0.01), "name": "table"},
            {"params": [self.model.bias], "lr": rate(0.002), "name": "offset"},
        ]
        self.optimizer = torch.optim.AdamW(groups, foreach=False)
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches([str(i) for i in range(40)], None, 4, 3),
            model=self.model,
            optimizer=self.optimizer,
            scheduler=schedule(self.optimizer),
            save_every=0,
        )

    def train(self, until: int, by_hand: Callable[[int], None] = lambda _: None) -> None:
        for step in self.run.steps(until):
            for micro in step.micro_batches(4):
                x = torch.tensor([[float(i), 1.0] for i in micro.indices])
                step.backward(self.model(x).square().sum() / len(step.indices))
            by_hand(step.number)
            step.update()

    def alarms(self) -> list[Remark]:
        return [each for each in self.run.monitor.remarks if each.is_alarm]


@pytest.fixture(params=[ours, torchs])
def schedule(request: pytest.FixtureRequest) -> Scheduled:
    """One of ours, one of PyTorch's that goes on from the rate it finds."""
    found: Scheduled = request.param
    return found


def saved(directory: Path, schedule: Scheduled, **given: Any) -> Path:
    training = Training(directory, schedule, **given)
    training.run.resume()
    training.train(4)
    training.run.save()
    training.run.close()
    return directory


@pytest.mark.parametrize(("group", "name"), [(0, "table"), (1, "offset")])
def test_a_rate_set_by_hand_is_told_at_its_step(
    tmp_path: Path, schedule: Scheduled, group: int, name: str
) -> None:
    """Three steps after the resume the loop halves a group's rate: an alarm at that very step."""
    training = Training(saved(tmp_path, schedule), schedule)
    training.run.resume()

    def halve(number: int) -> None:
        if number == 7:
            training.optimizer.param_groups[group]["lr"] *= 0.5

    training.train(9, halve)
    assert [("learning rate", 7)] == [(each.kind, each.step) for each in training.alarms()]
    assert f"off its curve: optimizer.{name} was stepped with" in training.alarms()[0].sentence
    assert "(-50.0 %)" in training.alarms()[0].sentence
    training.run.close()


def test_beyond_what_a_checkpoint_writes_down_it_is_told_as_well(tmp_path: Path) -> None:
    """A checkpoint holds 32 rates to come; the curve is known for as long as the watch lasts."""
    training = Training(saved(tmp_path, ours), ours)
    training.run.resume()

    def raise_it(number: int) -> None:
        if number == 45:
            training.optimizer.param_groups[0]["lr"] = 0.5

    training.train(46, raise_it)
    assert [45] == [each.step for each in training.alarms() if each.kind == "learning rate"]
    training.run.close()


@pytest.mark.parametrize("rate", [float, torch.tensor])
def test_a_healthy_resume_is_on_its_curve(
    tmp_path: Path, schedule: Scheduled, rate: Callable[[float], Any]
) -> None:
    """Nothing is said, and nothing refused, where a group holds its rate in a tensor either."""
    training = Training(saved(tmp_path, schedule, rate=rate), schedule, rate)
    assert training.run.resume().checks.critical == []
    training.train(30)
    assert [] == training.alarms()
    training.run.close()


def test_a_curve_that_was_accepted_is_the_one_to_keep_to(tmp_path: Path) -> None:
    """The schedule was changed on purpose: the new curve raises no alarm, leaving it does."""

    def longer(optimizer: torch.optim.Optimizer) -> unbroken.Schedule:
        return ours(optimizer, total=400)

    training = Training(saved(tmp_path, ours), longer)
    training.run.resume(accept=["schedule-unchanged"])
    training.train(8)
    assert [] == training.alarms()
    training.train(9, lambda _: training.optimizer.param_groups[1].update(lr=0.5))
    assert ["learning rate"] == [each.kind for each in training.alarms()]
    training.run.close()
