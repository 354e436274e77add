"""Plain values that a program declares later: they begin as it sets them, and are told by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken

Body = Callable[[unbroken.Values], None]


def start(
    directory: Path, until: int, body: Body = lambda _: None, **declared: Any
) -> tuple[unbroken.Values, unbroken.ResumeReport]:
    """Train to a batch as a program that declares such values; return them, and what the resume said."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), batch_size=4)
    values = unbroken.Values(**declared)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, values=values)
    report = run.resume()
    for _epoch in run.epochs(1):
        body(values)
        for (batch,) in run.batches():
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if hasattr(values, "count"):
                values.count += 1
            if run.position.step + 1 == until:
                run.stop.ask("the test wants it")
    run.close()
    return values, report


def begun(directory: Path, **declared: Any) -> None:
    """Train four batches and stop there."""
    with pytest.raises(unbroken.Stopped):
        start(directory, 4, **declared)


@pytest.mark.parametrize("new", [0, [], {"a": 1.5}, torch.ones(2), [torch.zeros(1)]])
def test_a_value_that_is_new_begins_as_the_program_sets_it(tmp_path: Path, new: Any) -> None:
    """Whatever it is: the others go on, and the report names it."""
    begun(tmp_path, count=0)
    values, report = start(tmp_path, 11, count=0, waited=new)
    assert 10 == values.count
    assert repr(new) == repr(values.waited)
    assert [
        "not in the checkpoint, so begun as the program sets it: values.waited"
    ] == list(report.notes)  # fmt: skip


def test_the_first_values_of_an_empty_one_begin(tmp_path: Path) -> None:
    """Nothing was saved of it but that it was there."""
    begun(tmp_path)
    values, report = start(tmp_path, 11, count=0, best=1.0)
    assert (6, 1.0) == (values.count, values.best)
    assert ["values.best, values.count"] == [each.partition(": ")[2] for each in report.notes]


def test_what_the_body_did_to_it_before_the_stop_is_undone(tmp_path: Path) -> None:
    """An epoch that goes on in its middle runs the beginning of its body again: the new value is set back."""
    begun(tmp_path, count=0)

    def body(values: unbroken.Values) -> None:
        values.waited += 1
        values.seen.append(1)

    values, _ = start(tmp_path, 11, body, count=0, waited=5, seen=[])
    assert (5, []) == (values.waited, values.seen)


def test_a_value_that_is_declared_no_more_is_told_once(tmp_path: Path) -> None:
    """It stays as it was saved; so a rename names both."""
    begun(tmp_path, best=0.5)
    values, report = start(tmp_path, 11, best_score=9.0)
    assert (0.5, 9.0) == (values.best, values.best_score)
    assert [
        "not in the checkpoint, so begun as the program sets it: values.best_score",
        "declared no more, and kept as saved: values.best (under another name a value begins anew)",
    ] == list(report.notes)
    assert () == start(tmp_path, 11, best_score=9.0)[1].notes


def test_a_value_that_the_loop_makes_is_not_missed(tmp_path: Path) -> None:
    """It was never declared, and is restored without a word."""

    def body(values: unbroken.Values) -> None:
        values.made = 7

    with pytest.raises(unbroken.Stopped):
        start(tmp_path, 4, body, count=0)
    values, report = start(tmp_path, 11, count=0)
    assert (7, ()) == (values.made, report.notes)


def test_a_part_of_another_kind_has_to_be_whole(tmp_path: Path) -> None:
    """Only plain values may be new: what another object lacks, it alone knows."""

    class Own:
        def __init__(self, **held: int) -> None:
            self.held = held

        def state_dict(self) -> dict[str, int]:
            return dict(self.held)

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.held = state

    def train(**held: int) -> None:
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        run = unbroken.Run(
            tmp_path, model=model, optimizer=torch.optim.SGD(model.parameters(), 0.1), own=Own(**held)
        )  # fmt: skip
        for _ in run.iterations(2):
            model(torch.ones(1, 1)).sum().backward()
        run.close()

    train(a=1)
    with pytest.raises(unbroken.StateMismatch, match=r"own\.b: missing in the checkpoint"):
        train(a=1, b=2)
