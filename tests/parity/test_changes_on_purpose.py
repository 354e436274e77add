"""The table "What you change on purpose" of docs/library.md, row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

import unbroken


class Noisy(Dataset[torch.Tensor]):
    """Samples with noise."""

    def __init__(self, noise: float) -> None:
        self.data = torch.arange(160.0).view(40, 4) / 100
        self.noise = noise

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.data[index] + self.noise * torch.randn(4)


def train(
    directory: Path,
    until: int,
    accept: tuple[str, ...] = (),
    *,
    rate: float = 0.1,
    every: int = 30,
    size: int = 4,
    noise: float = 0.1,
    weights: tuple[float, ...] = (),
    frozen: bool = False,
    averaged: bool = False,
) -> list[Any]:
    """Train to a batch; return what acted: the size of each batch, and at the end the rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(not frozen)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    sampler = WeightedRandomSampler(weights, 40) if weights else None
    loader = DataLoader(Noisy(noise), size, shuffle=sampler is None, sampler=sampler)
    parts: dict[str, Any] = {"schedule": StepLR(optimizer, every)} if every else {}
    if averaged:
        parts["average"] = torch.optim.swa_utils.AveragedModel(model)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, **parts)
    run.resume("auto", accept=accept)
    acted: list[Any] = []
    try:
        for batch in run.batches(until=until):
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if every:
                parts["schedule"].step()
            acted.append(len(batch))
    finally:
        run.close()
    return [*acted, optimizer.param_groups[0]["lr"]]


FIRST = (9.0,) * 5 + (1.0,) * 35
LAST = (1.0,) * 35 + (9.0,) * 5


@pytest.mark.parametrize(
    ("before", "after", "accept"),
    [
        ({}, {"every": 3}, "schedule-unchanged"),
        ({}, {"rate": 0.2}, "schedule-unchanged"),
        ({}, {"noise": 0.3}, "last-batch-identical"),
        ({"weights": FIRST}, {"weights": LAST}, "next-samples-identical"),
        ({}, {"frozen": True}, "trainable-parameters-unchanged"),
        ({}, {"averaged": True}, ""),
    ],
)
def test_it_is_refused_and_acts_where_it_can_be_accepted(
    before: dict[str, Any], after: dict[str, Any], accept: str, tmp_path: Path
) -> None:
    """A part more can't be accepted."""
    train(tmp_path, 7, **before)
    with pytest.raises(unbroken.ResumeRefused):
        train(tmp_path, 10, **after)
    go: Callable[[], list[Any]] = lambda: train(tmp_path, 10, (accept,), **after)  # noqa: E731
    if accept:
        assert len(go()) == 4
    else:
        with pytest.raises((unbroken.ResumeRefused, unbroken.SettingsInvalid)):
            go()


def test_a_rate_without_a_schedule_is_told_and_acts_where_it_is_accepted(tmp_path: Path) -> None:
    """Else the saved one goes on."""
    train(tmp_path, 7, every=0)
    assert train(tmp_path, 9, rate=0.2, every=0)[-1] == 0.1
    assert train(tmp_path, 11, ("optimizer-options-unchanged",), rate=0.2, every=0)[-1] == 0.2


def test_another_batch_size_acts_from_the_first_sample_that_is_not_trained(tmp_path: Path) -> None:
    """Seven batches of four are done: twelve samples of the epoch are left."""
    train(tmp_path, 7)
    assert train(tmp_path, 12, size=8)[:-1] == [8, 4, 8, 8, 8]
