"""The test that users get for their own training: it finds what is lost, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import unbroken
from support import toy_training as toy
from unbroken.testing import assert_resume_is_exact
from unbroken.testing.inventory import Inventory

STEPS = 3


def trained(directory: Path, until: int, after_step: Callable[..., None] = toy.no_hook,
    **parts: Any) -> dict[str, Any]:  # fmt: skip
    """Train the toy and return what is alive."""
    training = toy.build(directory, keep=1, **parts)
    toy.train(training, until, after_step=after_step)
    training.run.close()
    return {"run": training.run, "model": training.model, "optimizer": training.optimizer}


def test_a_training_whose_state_is_declared_passes() -> None:
    """Stopped at each of its micro-batches, the toy training is always the same in the end."""
    directories = []

    def train(directory: Path, until: int) -> dict[str, Any]:
        directories.append(directory)
        return trained(directory, until)

    assert_resume_is_exact(train, STEPS)
    micro_batches = 3 + 3 + 2  # the last step batch of the epoch is smaller
    assert 1 + 2 * (micro_batches - 1) == len(directories)


def forgetful(declare: bool) -> Callable[[Path, int], dict[str, Any]]:
    """Return a training with an average of its weights, declared or forgotten."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        torch.manual_seed(0)
        averaged = AveragedModel(nn.Linear(4, 1))
        parts: dict[str, Any] = {"averaged": averaged} if declare else {}
        training = toy.build(directory, keep=1, **parts)
        toy.train(
            training,
            until,
            after_step=lambda _: (
                averaged.module.get_parameter("weight")
                .data.mul_(0.9)
                .add_(next(training.model.parameters()).mean())
            ),
        )
        training.run.close()
        return {"run": training.run, "averaged": averaged}

    return train


def test_a_forgotten_average_is_named_with_the_line_to_add() -> None:
    """What no part holds is found in what train() returned."""
    with pytest.raises(AssertionError) as caught:
        assert_resume_is_exact(forgetful(declare=False), STEPS)
    message = str(caught.value)
    assert "averaged.module.weight (torch.float32 [1, 4])" in message
    assert "-> add to Run(...):  averaged=averaged," in message
    assert "run.model" not in message
    assert_resume_is_exact(forgetful(declare=True), STEPS)


def test_what_is_declared_is_not_to_be_declared_again() -> None:
    """A forgotten generator stands first; the model that it led astray is known to be a part."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(3)
        training = toy.build(directory, keep=1)
        weight = next(training.model.parameters())
        toy.train(
            training,
            until,
            after_step=lambda _: weight.data.add_(torch.rand(1, generator=generator)),
        )
        training.run.close()
        return {"net": training.model, "adam": training.optimizer, "generator": generator}

    with pytest.raises(AssertionError) as caught:
        assert_resume_is_exact(train, STEPS)
    advice = [each for each in str(caught.value).splitlines() if "->" in each]
    assert "add to Run(...):  generator=generator," in advice[0]
    assert all("is declared: correct what is listed above first" in each for each in advice[1:])
    assert any("part 'model'" in each for each in advice[1:])


@pytest.mark.parametrize(
    ("name", "make", "use"),
    [
        ("count", lambda: {"n": 0}, lambda it: it.update(n=it["n"] + 1)),
        ("generator", lambda: torch.Generator().manual_seed(3), lambda it: torch.rand(1, generator=it)),
        ("numbers", lambda: np.random.default_rng(3), lambda it: it.random()),
        ("array", lambda: np.zeros(2), lambda it: np.add(it, 1, out=it)),
        ("window", lambda: [torch.zeros(1)], lambda it: it.append(torch.ones(1))),
    ],
)  # fmt: skip
def test_whatever_the_loop_changes_beside_the_run_is_found(
    name: str, make: Callable[[], Any], use: Callable[[Any], Any]
) -> None:
    """Counters, generators, arrays and lists that live outside of the run are compared."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        thing = make()
        alive = trained(directory, until, lambda _: use(thing))
        return {**alive, name: thing}

    with pytest.raises(AssertionError, match=name):
        assert_resume_is_exact(train, STEPS)
    assert_resume_is_exact(train, STEPS, ignore=[name])


def test_a_loop_without_a_run_is_stopped_between_its_steps(tmp_path: Path) -> None:
    """A training that saves in its own way is called with fewer steps; what it forgets is named."""
    place = "state.pt"

    def train(directory: Path, until: int) -> Any:
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(model.parameters())
        begin = 0
        if (directory / place).exists():
            saved = torch.load(directory / place, weights_only=True)
            begin = saved["step"]
            model.load_state_dict(saved["model"])
        for _ in range(begin, until):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).square().sum().backward()
            optimizer.step()
        torch.save({"step": until, "model": model.state_dict()}, directory / place)
        return {"model": model, "optimizer": optimizer}

    with pytest.raises(AssertionError, match=r"add to Run\(...\):  optimizer=optimizer,"):
        assert_resume_is_exact(train, STEPS)


def test_a_resume_that_is_refused_fails_the_test() -> None:
    """What the checks say stands in the message."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        started = (directory / "run.json").exists()
        return trained(directory, until, seed=8 if started else 7)

    with pytest.raises(AssertionError, match="does not resume"):
        assert_resume_is_exact(train, STEPS)


def test_an_inventory_names_each_object_once(tmp_path: Path) -> None:
    """An object that is reached twice stands under its first path; what is no state is left out."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = Inventory({"model": model, "again": model, "optimizer": optimizer, "path": tmp_path})
    assert {"model.weight", "model.bias", "model.training"} <= found.items.keys()
    assert [] == [path for path in found.items if path.startswith(("again", "path"))]
    assert repr(0.1) == found.items["optimizer.groups.0.lr"].content


class Restless(torch.optim.SGD):
    """Steps with a counter that nothing saves, in an object of a foreign kind."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr=lr)
        self.own = SimpleNamespace(calls=0)

    def step(self, closure: Any = None) -> Any:
        self.own.calls += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.own.calls
        return super().step(closure)


def test_what_an_optimizer_keeps_beside_its_state_is_named_first() -> None:
    """Not the model, which only follows."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = Restless(model.parameters(), lr=0.1)
        order = unbroken.StepBatches(list("abcdef"), None, 2, 1)
        run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer)
        run.resume()
        for step in run.steps(until):
            for _ in step.micro_batches(2):
                step.backward(model(torch.randn(2, 4)).square().mean())
            step.update()
        run.close()
        return {"model": model, "optimizer": optimizer}

    with pytest.raises(AssertionError) as caught:
        assert_resume_is_exact(train, STEPS)
    lines = str(caught.value).splitlines()
    assert "optimizer.own.calls (int)" in lines[1]
    assert "part 'optimizer' is declared, but does not save this" in lines[2]
    assert any("part 'model' is declared: correct what is listed above first" in it for it in lines)


def test_one_step_is_too_few() -> None:
    """A training of one step is refused: nothing would be compared."""
    with pytest.raises(ValueError, match="steps is 1"):
        assert_resume_is_exact(trained, 1)
