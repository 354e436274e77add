"""Work at the beginning of an epoch, a layer that comes late, an average of a class of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.programs import DATA, STEPS, Plain, Training
from support.sameness import same


def by_epochs(directory: Path, until: int, stop: int = 0) -> tuple[dict[str, Any], Any]:
    """Train by epochs of 5 steps; the body sets the rate of its epoch before the first step."""
    program = Plain()
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches([str(i) for i in range(40)], None, 8, 3),
        model=program.model,
        optimizer=program.optimizer,
        save_every=0,
    )
    run.resume()
    for epoch in run.epochs(until):
        for group in program.optimizer.param_groups:
            group["lr"] = 0.02 * 0.5**epoch
        for step in run.steps():
            for micro in step.micro_batches(8):
                step.backward(program.model(DATA[torch.tensor(micro.indices)]).square().sum() / 8)
            step.update()
            if step.number == stop:
                run.stop.ask("a test")
    run.close()
    return run.state.capture(), run.monitor


@pytest.mark.parametrize("stop", [4, 5, 6])
def test_what_an_epochs_body_begins_with_is_done_after_its_boundary(
    tmp_path: Path, stop: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped at the end of the first epoch, the second one's beginning has not run yet."""
    expected, _ = by_epochs(tmp_path / "whole", 3)
    with pytest.raises(unbroken.Stopped):
        by_epochs(tmp_path / "run", 3, stop)
    found, monitor = by_epochs(tmp_path / "run", 3)
    assert [] == [name for name in expected if not same(expected[name], found[name])]
    assert [] == [each.sentence for each in monitor.remarks if each.is_alarm]
    assert "The loop was left" not in caplog.text


@pytest.mark.parametrize("layer", [lambda: nn.Linear(1, 1), nn.Tanh])
def test_a_layer_that_comes_late_is_refused_before_it_is_saved(
    tmp_path: Path, layer: Callable[[], nn.Module]
) -> None:
    """No start would have it: training ends with its name, and the checkpoint before stands."""
    training = Training(Plain, tmp_path / "run")
    training.train(4)
    training.program.model.append(layer())  # type: ignore[operator]
    with pytest.raises(unbroken.NotEncodable, match=r"model\.4"):
        training.train(8)
    training.run.close()
    again = Training(Plain, tmp_path / "run")
    again.train(8)
    again.run.close()


class Averages:
    """An average of one's own class: a dict of tensors."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = {name: each.detach().clone() for name, each in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for name, each in model.named_parameters():
            self.shadow[name].lerp_(each, 0.2)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.shadow)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, each in state.items():
            self.shadow[name].copy_(each)


class Replaced(Averages):
    """Takes a state in by putting another dict in the place of its own."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shadow = dict(state)


class Averaged(Plain):
    """Keeps an average that is updated at the beginning of each step, so many times."""

    times = 1
    kind = Averages

    def __init__(self) -> None:
        super().__init__()
        self.average = self.kind(self.model)

    def parts(self) -> dict[str, Any]:
        return {"average": self.average}

    def begin(self, step: int) -> None:
        for _ in range(self.times if step else 0):
            self.average.update(self.model)


class AveragedAndReplaced(Averaged):
    """The same with an average that replaces its dict."""

    kind = Replaced


@pytest.mark.parametrize("program", [Averaged, AveragedAndReplaced])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_average_of_ones_own_that_is_updated_otherwise_is_told(
    tmp_path: Path, program: type[Averaged], times: int
) -> None:
    """No loss shows it; the sample of its tensors does, at the first step that is repeated."""
    first = Training(program, tmp_path / "run")
    first.train(6)
    first.train(STEPS, left_at=9)
    first.run.close()
    second = Training(program, tmp_path / "run")
    second.program.times = times  # type: ignore[attr-defined]
    if times == 1:
        second.train(STEPS)
    else:
        with pytest.raises(unbroken.Diverged, match="other tensors of its parts"):
            second.train(STEPS)
    second.run.close()
