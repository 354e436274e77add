"""Every learning-rate scheduler, the loss scaler and averaged weights go on to the last bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as rates
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from support.sameness import same
from support.state_copy import hand_over, written_and_read
from unbroken.errors import StateMismatch
from unbroken.loop.schedule import Schedule, warmup_cosine
from unbroken.state.training_state import TrainingState

Make = Callable[[torch.optim.Optimizer], Any]


class Growth:
    """A factor with a state of its own, as `LambdaLR` lets it have."""

    def __init__(self) -> None:
        self.base = 0.97

    def __call__(self, epoch: int) -> float:
        return float(self.base**epoch)


CASES: dict[str, Make] = {
    "LambdaLR": lambda o: rates.LambdaLR(o, lambda n: 0.9**n),
    "LambdaLR with state": lambda o: rates.LambdaLR(o, Growth()),
    "MultiplicativeLR": lambda o: rates.MultiplicativeLR(o, lambda n: 0.95 + 0 * n),
    "StepLR": lambda o: rates.StepLR(o, 3),
    "MultiStepLR": lambda o: rates.MultiStepLR(o, [2, 5, 5, 8]),
    "ConstantLR": lambda o: rates.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: rates.LinearLR(o, 0.1, 1.0, 6),
    "ExponentialLR": lambda o: rates.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: rates.SequentialLR(
        o, [rates.LinearLR(o, 0.1, 1.0, 3), rates.MultiStepLR(o, [2, 4])], milestones=[3]
    ),
    "CosineAnnealingLR": lambda o: rates.CosineAnnealingLR(o, 5),
    "ChainedScheduler": lambda o: rates.ChainedScheduler(
        [rates.ConstantLR(o, 0.5, 4), rates.MultiStepLR(o, [3, 6])]
    ),
    "ReduceLROnPlateau": lambda o: rates.ReduceLROnPlateau(o, patience=1, cooldown=1),
    "CyclicLR": lambda o: rates.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "CyclicLR own scale": lambda o: rates.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda x: 0.9**x),
    "CosineAnnealingWarmRestarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 2, 2),
    "OneCycleLR": lambda o: rates.OneCycleLR(o, 0.1, total_steps=12, three_phase=True),
    "OneCycleLR linear": lambda o: rates.OneCycleLR(
        o, 0.1, total_steps=12, anneal_strategy="linear"
    ),
    "PolynomialLR": lambda o: rates.PolynomialLR(o, 8, 2.0),
    "LRScheduler": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=6),
    "SWALR linear": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=6, anneal_strategy="linear"),
    "ours": lambda o: Schedule(o, warmup_cosine(3, 20), {"warmup": 3, "total": 20}),
}


class Live:
    def __init__(self, make: Make, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = make(self.optimizer)
        self.state = TrainingState(
            {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler},
            [self.optimizer],
        )

    def train(self, first: int, last: int) -> list[float]:
        used = []
        for number in range(first, last):
            used.append(float(self.optimizer.param_groups[0]["lr"]))
            inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
            self.model(inputs).square().sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            plateau = isinstance(self.scheduler, rates.ReduceLROnPlateau)
            with warnings.catch_warnings():  # SequentialLR of torch calls its own deprecated form
                warnings.simplefilter("ignore", UserWarning)
                self.scheduler.step(*([1.0 + number % 3] if plateau else []))
        return used


def test_every_scheduler_of_the_installed_torch_is_here() -> None:
    """A scheduler that a new PyTorch brings must be added to the cases."""
    assert set() == set(rates.__all__) - set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_rates_go_on_to_the_last_bit(name: str) -> None:
    """Stopped after any of the first steps and built anew, every later rate is the same."""
    whole = Live(CASES[name])
    expected = whole.train(0, 11)
    for stop in (0, 1, 2, 5, 9):
        first, second = Live(CASES[name]), Live(CASES[name], seed=9)
        used = first.train(0, stop)
        hand_over(first.state, second.state)
        assert expected == used + second.train(stop, 11), f"stopped after {stop} steps"
        assert same(whole.state.capture(), second.state.capture())


def test_another_schedule_of_ours_is_refused_before_anything_changes() -> None:
    """A schedule made of other numbers is named, and no part was touched."""
    old = Live(CASES["ours"])
    old.train(0, 4)
    new = Live(lambda o: Schedule(o, warmup_cosine(3, 40), {"warmup": 3, "total": 40}), seed=3)
    before = written_and_read(new.state.capture())
    with pytest.raises(StateMismatch, match=r"specification is .*40.*, was .*20"):
        hand_over(old.state, new.state)
    assert same(before, written_and_read(new.state.capture()))
    assert new.state.is_usable


def test_a_scheduler_of_another_kind_is_refused() -> None:
    """The names in a scheduler's state tell kinds apart."""
    old, new = Live(CASES["StepLR"]), Live(CASES["MultiStepLR"])
    with pytest.raises(StateMismatch, match=r"scheduler\.step_size: surplus"):
        hand_over(old.state, new.state)


class Scaled:
    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        declared = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        self.state = TrainingState(declared, [self.optimizer])

    def train(self, first: int, last: int) -> list[float]:
        scales = []
        for number in range(first, last):
            inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
            if number == 3:
                inputs = inputs * float("inf")
            self.scaler.scale(self.model(inputs).square().sum()).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            scales.append(self.scaler.get_scale())
        return scales


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_the_scale_of_a_loss_scaler_goes_on(stop: int) -> None:
    """Scale and growth count come back, also around a skipped update."""
    whole = Scaled()
    expected = whole.train(0, 8)
    assert len(set(expected)) > 2
    first, second = Scaled(), Scaled(seed=1)
    scales = first.train(0, stop)
    hand_over(first.state, second.state)
    assert expected == scales + second.train(stop, 8)
    assert same(whole.state.capture(), second.state.capture())


class Averaged:
    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.ema = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True
        )
        self.mean = AveragedModel(self.model)
        declared = {"model": self.model, "optimizer": self.optimizer}
        declared |= {"ema": self.ema, "mean": self.mean}
        self.state = TrainingState(declared, [self.optimizer])

    def train(self, first: int, last: int) -> None:
        for number in range(first, last):
            inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
            self.model(inputs).square().sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.ema.update_parameters(self.model)
            self.mean.update_parameters(self.model)


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_averaged_weights_go_on(stop: int) -> None:
    """The average, its counter and its buffers come back beside the model's own."""
    whole = Averaged()
    whole.train(0, 6)
    first, second = Averaged(), Averaged(seed=1)
    first.train(0, stop)
    hand_over(first.state, second.state)
    second.train(stop, 6)
    assert same(whole.state.capture(), second.state.capture())
    update_bn([torch.ones(4, 3)], second.mean)
