"""What is lost at a stop is told before it is lost: by the source, and by what is seen to change."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.errors import ResumeRefused, RunMisused, SettingsInvalid

STEPS = {"done": 0}


class Average:
    """An average of weights that can't be saved."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = [each.detach().clone() for each in model.parameters()]

    def update(self, model: nn.Module) -> None:
        """Follow the model."""
        for mine, each in zip(self.shadow, model.parameters(), strict=True):
            mine.lerp_(each.detach(), 0.5)


def parts() -> tuple[nn.Module, torch.optim.Optimizer, DataLoader[Any]]:
    """Return what is trained, and on what."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, DataLoader(TensorDataset(torch.randn(24, 4)), 4)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    """Train on a batch."""
    loss = model(batch[0]).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def plain_values() -> None:
    model, optimizer, loader = parts()
    best, history = 9.0, []
    for _ in range(2):
        total = 0.0
        for batch in loader:
            total += step(model, optimizer, batch)
        best = min(best, total)
        history.append(total)


def values_and_a_plain_one() -> None:
    model, optimizer, loader = parts()
    values, worst = unbroken.Values(best=9.0), 0.0
    for _ in range(2):
        for batch in loader:
            values.best = min(values.best, step(model, optimizer, batch))
            worst = max(worst, values.best)


def average_without_state() -> None:
    model, optimizer, loader = parts()
    average = Average(model)
    for _ in range(2):
        for batch in loader:
            step(model, optimizer, batch)
            average.update(model)


def by_helpers() -> None:
    model, optimizer, loader = parts()
    count = 0

    def one(batch: Any) -> None:
        nonlocal count
        step(model, optimizer, batch)
        count += 1
        STEPS["done"] += 1

    for _ in range(2):
        for batch in loader:
            one(batch)


def follow(shadow: list[torch.Tensor], model: nn.Module) -> None:
    """Move an average."""
    for mine, each in zip(shadow, model.parameters(), strict=True):
        mine.lerp_(each.detach(), 0.5)


def average_by_helper() -> None:
    model, optimizer, loader = parts()
    shadow = [each.detach().clone() for each in model.parameters()]
    for _ in range(2):
        for batch in loader:
            step(model, optimizer, batch)
            follow(shadow, model)


def best_by_copy() -> None:
    model, optimizer, loader = parts()
    best_model = copy.deepcopy(model)
    for number in range(2):
        for batch in loader:
            step(model, optimizer, batch)
        if number:
            best_model = copy.deepcopy(model)
    assert best_model is not model


def hidden_schedule() -> None:
    model, optimizer, loader = parts()
    move = iter([torch.optim.lr_scheduler.StepLR(optimizer, 2)]).__next__
    for _ in range(2):
        for batch in loader:
            step(model, optimizer, batch)
    assert move is not None


def few_batches() -> None:
    model, optimizer, loader = parts()
    for _ in range(2):
        for batch in itertools.islice(loader, 4):
            step(model, optimizer, batch)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (
            plain_values,
            ["    best     float", "    history  list", "    total    where an epoch is"],
        ),
        (plain_values, ["unbroken.Values(best=best, history=history)"]),
        (
            values_and_a_plain_one,
            [
                "in this run too: give values = unbroken.Values(worst=worst, ...), and use them there"
            ],
        ),
        (average_without_state, ["    average  Average"]),
        (average_by_helper, ["in no checkpoint: shadow.0, shadow.1. A start"]),
        (by_helpers, ["    STEPS  dict", "    count  int"]),
        (best_by_copy, ["best_model  the objects that the loop assigns to it"]),
        (hidden_schedule, ["a schedule of optimizer  it was not found"]),
        (few_batches, ["itertools.islice(loader, 4)  where an epoch is resumed in its middle"]),
    ],
)
def test_what_a_start_begins_with_anew(
    function: Callable[[], None], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The table, or a warning after the first batches, names it."""
    caplog.set_level("INFO", "unbroken")
    unbroken.protect(tmp_path)(function)()
    for each in told:
        assert each in caplog.text


def replacing() -> None:
    model, optimizer, loader = parts()
    for number in range(3):
        for batch in loader:
            step(model, optimizer, batch)
        if number:
            model = copy.deepcopy(model)


def building() -> None:
    model, optimizer, loader = parts()
    now = (model, optimizer)
    for number in range(3):
        if number:
            now = parts()[:2]
        for batch in loader:
            step(*now, batch)


def loader_in_the_loop() -> None:
    model, optimizer, val_loader = parts()
    for _ in range(2):
        _, _, train_loader = parts()
        for batch in train_loader:
            loss = model(batch[0]).mean()
            loss.backward()
            optimizer.step()
        assert val_loader


def endless() -> None:
    model, optimizer, loader = parts()
    batches = itertools.cycle(loader)
    for _ in range(4):
        step(model, optimizer, next(batches))


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (replacing, "model was replaced by another object"),
        (building, "An optimizer that was not there when the loop began makes updates: SGD"),
        (loader_in_the_loop, "The loop trains on train_loader, which it builds itself"),
        (endless, "An iterator over a loader is kept .*: batches"),
    ],
)
def test_what_is_built_in_the_loop_is_refused(
    function: Callable[[], None], found: str, tmp_path: Path
) -> None:
    """It would be in no checkpoint."""
    with pytest.raises((RunMisused, SettingsInvalid), match=found):
        unbroken.protect(tmp_path)(function)()


def from_epoch(first: int) -> None:
    model, optimizer, loader = parts()
    for _ in range(first, 4):
        for batch in loader:
            step(model, optimizer, batch)


def test_a_program_that_goes_on_by_itself_is_refused(tmp_path: Path) -> None:
    """It leaves out the rounds that are done, and so would we, once more."""
    unbroken.protect(tmp_path)(from_epoch)(0)
    with pytest.raises(ResumeRefused, match="first_round is 2, was 0") as error:
        unbroken.protect(tmp_path)(from_epoch)(2)
    assert "take out a resume of the program's own" in str(error.value)


def asking() -> list[nn.Module]:
    model, optimizer, loader = parts()
    for _ in range(2):
        batches = iter(loader)
        for _ in range(len(loader)):
            step(model, optimizer, next(batches))
    return [model]


def left_by_break() -> list[nn.Module]:
    model, optimizer, loader = parts()
    for _ in range(2):
        kept = enumerate(loader)
        for number, batch in kept:
            step(model, optimizer, batch)
            if number == 2:
                break
    return [model]


@pytest.mark.parametrize("function", [asking, left_by_break])
def test_an_iterator_that_lives_until_the_next_round_is_none_that_is_kept(
    function: Callable[[], list[nn.Module]], tmp_path: Path
) -> None:
    """It was read to its end, or left as by `break`: the next round begins the next epoch."""
    (model,) = unbroken.protect(tmp_path)(function)()
    (plain,) = function()
    for mine, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, other)
