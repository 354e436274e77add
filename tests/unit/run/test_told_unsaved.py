"""A kill right after a save proves nothing by steps; what the checkpoint lacks is told all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unbroken
from support.audited import order
from unbroken.audit.self_audit import UNSAVED
from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines


class Keeper(nn.Module):
    """A model that keeps something of its own."""

    def __init__(self, kept: Any, use: Callable[[Any, torch.Tensor], object]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.kept, self.use = kept, use

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.use(self.kept, values.detach())
        out: torch.Tensor = self.linear(values)
        return out


KEPT: dict[str, tuple[Callable[[], Any], Callable[[Any, torch.Tensor], object]]] = {
    "an own generator": (
        lambda: torch.Generator().manual_seed(1),
        lambda it, _: torch.rand(1, generator=it),
    ),
    "an own shuffle": (lambda: np.random.default_rng(1), lambda it, _: it.permutation(4)),
    "an own counter": (lambda: {"n": 0}, lambda it, _: it.update(n=it["n"] + 1)),
    "a replay buffer": (list, lambda it, values: it.append(values[0].clone())),
    "a second model": (
        lambda: [nn.Linear(4, 4).requires_grad_(False)],
        lambda it, values: it[0].weight.add_(values.mean()),
    ),
}


def train(directory: Path, kind: str, until: int) -> tuple[unbroken.Run, unbroken.ResumeReport]:
    """Train with something kept, from whatever stands there, and save at the end."""
    make, use = KEPT[kind]
    torch.manual_seed(0)
    model = Keeper(make(), use)
    optimizer = torch.optim.Adam(model.parameters())
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    report = run.resume()
    for step in run.steps(until):
        for _ in step.micro_batches(4):
            step.backward(model(torch.randn(4, 4)).square().mean())
        step.update()
    run.close()
    return run, report


@pytest.mark.parametrize("kind", KEPT)
def test_what_the_checkpoint_lacks_is_told_where_no_step_can_tell(
    tmp_path: Path, kind: str
) -> None:
    """In the history while it can be saved, and at the resume by its path."""
    train(tmp_path / "run", kind, 3)
    history = read_lines(Layout(tmp_path / "run").history)
    paths = [one["path"] for e in history if e["event"] == UNSAVED for one in e["found"]]
    assert 1 == len(paths)
    assert paths[0].startswith("model.kept")
    run, report = train(tmp_path / "run", kind, 4)
    assert run.monitor.verdict is not None
    assert "UNPROVED" == run.monitor.verdict.outcome
    assert [note for note in report.notes if f"does not hold {paths[0]}," in note]


def test_a_checkpoint_that_lacks_nothing_is_resumed_without_a_word(tmp_path: Path) -> None:
    """As most are."""
    KEPT["nothing"] = (lambda: None, lambda it, _: it)
    try:
        train(tmp_path / "run", "nothing", 3)
        _, report = train(tmp_path / "run", "nothing", 4)
    finally:
        del KEPT["nothing"]
    assert () == report.notes
