"""Parts that come into being while training: a schedule in its phase, an average from an epoch on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel

import unbroken
from unbroken.journal.journal import read_lines

PHASE = 2
"""The epoch, from 0, in which the average begins."""


class Training:
    """A training by epochs that averages its weights, and anneals its rate, in its last phase."""

    def __init__(self, directory: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.average: AveragedModel | None = None
        self.anneal: SWALR | None = None
        order = unbroken.StepBatches([str(i) for i in range(12)], None, 4, 3)
        self.run = unbroken.Run(
            directory, order=order, model=self.model, optimizer=self.optimizer, save_every=1
        )

    def begin_phase(self) -> None:
        if self.average is None:
            self.average = self.run.add_part("average", lambda: AveragedModel(self.model))
            self.anneal = self.run.add_part(
                "anneal", lambda: SWALR(self.optimizer, swa_lr=0.01, anneal_epochs=2)
            )

    def train(self, epochs: int, stop_at: int = 0) -> None:
        for epoch in self.run.epochs(epochs):
            if epoch >= PHASE:
                self.begin_phase()
            for step in self.run.steps():
                for micro in step.micro_batches(4):
                    x = torch.tensor([[i / 12, 1.0] for i in micro.indices])
                    step.backward(self.model(x).square().sum() / len(step.indices))
                step.update()
                if step.number == stop_at:
                    self.run.stop.ask("a test")
            if self.average is not None and self.anneal is not None:
                self.average.update_parameters(self.model)
                self.anneal.step()

    def state(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "average": self.average,
        }
        parts["anneal"] = self.anneal
        return {name: each.state_dict() for name, each in parts.items() if each is not None}


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("stop_at", [5, 6, 7, 9, 11])
def test_a_phase_is_resumed_exactly(tmp_path: Path, stop_at: int) -> None:
    """Stopped before, at the beginning of, and within the phase; steps after a stop repeat."""
    whole = Training(tmp_path / "whole")
    whole.run.resume()
    whole.train(5)
    whole.run.close()
    first = Training(tmp_path / "run")
    first.run.resume()
    with pytest.raises(unbroken.Stopped):
        first.train(5, stop_at)
    first.run.close()
    second = Training(tmp_path / "run")
    second.run.resume()
    second.train(5)
    second.run.close()
    assert_same(whole.state(), second.state())
    events = list(read_lines(second.run.layout.history))
    assert ["EXACT"] == [each["verdict"] for each in events if each["event"] == "replay"]


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped within its phase."""
    training = Training(tmp_path / "run")
    training.run.resume()
    with pytest.raises(unbroken.Stopped):
        training.train(5, 11)
    training.run.close()
    return tmp_path / "run"


def test_a_start_that_does_not_add_it_again_is_refused_by_name(stopped: Path) -> None:
    """Nothing is trained, and nothing saved, without it; the next start can go on."""
    before = sorted((stopped / "checkpoints").iterdir())
    training = Training(stopped)
    training.run.resume()
    with pytest.raises(unbroken.RunMisused, match="'average', 'anneal'"):
        training.run.begin_step()
    training.run.metrics = {"val_loss": 1.0}  # else the checkpoint that stands is enough
    with pytest.raises(unbroken.RunMisused, match=r"added by run\.add_part"):
        training.run.save()
    training.run.close()
    assert before == sorted((stopped / "checkpoints").iterdir())
    again = Training(stopped)
    again.run.resume()
    again.train(5)
    again.run.close()


def test_a_part_that_does_not_take_its_state_is_refused_by_name(stopped: Path) -> None:
    """What it would go on with is not what was saved."""

    class Forgets(SWALR):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            super().load_state_dict({**state_dict, "last_epoch": 0})

    training = Training(stopped)
    training.run.resume()
    training.run.add_part("average", lambda: AveragedModel(training.model))
    with pytest.raises(unbroken.StateMismatch, match=r"anneal\.last_epoch"):
        training.run.add_part("anneal", lambda: Forgets(training.optimizer, swa_lr=0.01))
    training.run.close()


@pytest.mark.parametrize("name", ["model", "sums", "no name"])
def test_a_name_that_can_not_be_a_parts_is_refused(tmp_path: Path, name: str) -> None:
    """Two parts of one name would overwrite each other."""
    training = Training(tmp_path / "run")
    training.run.resume()
    with pytest.raises(unbroken.NotEncodable, match=name):
        training.run.add_part(name, lambda: nn.Linear(1, 1))
    training.run.close()


def test_an_optimizer_has_to_be_declared_from_the_start(tmp_path: Path) -> None:
    """What it updates would be trained without having been looked at."""
    training = Training(tmp_path / "run")
    training.run.resume()
    with pytest.raises(unbroken.NotEncodable, match="it is an optimiser"):
        training.run.add_part("second", lambda: torch.optim.SGD(training.model.parameters(), 0.1))
    training.run.close()
