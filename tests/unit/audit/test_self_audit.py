"""What changes while training and is in no checkpoint is told by its path, with the line that saves it."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from support.audited import told
from support.toy_training import build, train


class Layer(nn.Module):
    """A layer that may keep anything."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def keep(self, values: torch.Tensor, /) -> None:
        """Keep something of a batch."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(values)
        self.keep(out.detach())
        return out


class Statistics(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def keep(self, values: torch.Tensor, /) -> None:
        self.get_buffer("mean").lerp_(values.mean(dim=0), 0.1)


class Counter(Layer):
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def keep(self, _: torch.Tensor, /) -> None:
        self.steps += 1


class Bank(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.bank: list[torch.Tensor] = []

    def keep(self, values: torch.Tensor, /) -> None:
        self.bank.append(values[:1])


class Window(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.recent: deque[torch.Tensor] = deque([torch.zeros(4)] * 3, maxlen=3)

    def keep(self, values: torch.Tensor, /) -> None:
        self.recent.append(values[0])


class Queue(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.queue = torch.zeros(16, 4)

    def keep(self, values: torch.Tensor, /) -> None:
        self.queue = torch.cat([self.queue[len(values) :], values])


class Noise(Layer):
    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator = generator

    def keep(self, _: torch.Tensor, /) -> None:
        if isinstance(self.generator, torch.Generator):
            torch.rand(1, generator=self.generator)
        else:
            self.generator.random()


class ActNorm(Layer):
    """Takes its shift from the first batch, and notes that in a flag that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
        self.initialized = False

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.initialized:
            self.shift.data.copy_(values.mean(dim=0))
            self.initialized = True
        return super().forward(values) - self.shift


class Hidden(Layer):
    """Holds a teacher where no module finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(4, 4).requires_grad_(False)]

    def keep(self, _: torch.Tensor, /) -> None:
        self.hidden[0].weight.lerp_(self.linear.weight.detach(), 0.1)


@pytest.mark.parametrize(
    ("make", "path", "line"),
    [
        (Statistics, "model.mean", "in Statistics: self.register_buffer('mean', ...), without persistent=False"),
        (Counter, "model.steps", "in Counter: self.register_buffer('steps', torch.tensor(...))"),
        (Bank, "model.bank", "return 'bank' from Bank.get_extra_state(), and take it in set_extra_state()"),
        (Window, "model.recent", "return 'recent' from Window.get_extra_state(), and take it in set_extra_state()"),
        (Queue, "model.queue", "in Queue: self.register_buffer('queue', ...)"),
        (lambda: Noise(torch.Generator()), "model.generator", "Run(..., generator=model.generator)"),
        (lambda: Noise(np.random.default_rng(1)), "model.generator", "Run(..., generator=model.generator)"),
        (ActNorm, "model.initialized", "in ActNorm: self.register_buffer('initialized', torch.tensor(...))"),
        (Hidden, "model.hidden.0", "Run(..., part=model.hidden[0])"),
        (lambda: nn.Sequential(nn.Linear(4, 4), Counter()), "model.1.steps", "in Counter: self.register_buffer('steps', torch.tensor(...))"),
    ],
)  # fmt: skip
def test_what_a_module_keeps_beside_its_state_is_named(make: Any, path: str, line: str) -> None:
    """By its path, with the line to add."""
    assert {path: line} == {each["path"]: each["line"] for each in told(make())}


class Lookahead(torch.optim.Optimizer):
    """An optimizer around another one, whose state it does not save."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it takes none
        del closure
        self.inner.step()


def test_the_state_of_an_optimizer_inside_of_another_is_saved_with_it() -> None:
    """So nothing is named, whether or not it is declared as well."""
    model = nn.Linear(4, 4)
    assert [] == told(model, optimizer=Lookahead(torch.optim.Adam(model.parameters())))
    model = nn.Linear(4, 4)
    optimizer = Lookahead(torch.optim.Adam(model.parameters()))
    assert [] == told(model, optimizer=optimizer, inner=optimizer.inner)


class Patience:
    """Something of a user's own, whose `state_dict` may leave a counter out."""

    def __init__(self, *saved: str) -> None:
        self.saved = saved
        self.best = 1.0
        self.bad = 0

    def look(self) -> None:
        self.best *= 0.9
        self.bad += 1

    def state_dict(self) -> dict[str, Any]:
        return {f"its_{name}": getattr(self, name) for name in self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.saved:
            setattr(self, name, state[f"its_{name}"])


def test_what_a_state_dict_leaves_out_is_named() -> None:
    """A counter that it has under another name is saved; one that it lacks is not."""
    patience = Patience("best", "bad")
    assert [] == told(nn.Linear(4, 4), patience=patience, after_step=patience.look)
    patience = Patience("best")
    found = told(nn.Linear(4, 4), patience=patience, after_step=patience.look)
    assert [("patience.bad", "state_dict")] == [(each["path"], each["way"]) for each in found]


def test_what_changes_seldom_is_found_at_the_first_save() -> None:
    """A counter that moved at neither of the first steps has moved by then."""
    model, steps = Counter(), iter(range(9))
    model.keep = lambda _: None  # type: ignore[method-assign]  # counts itself

    def count_epochs() -> None:
        model.steps += next(steps) % 3 == 2

    assert ["model.steps"] == [each["path"] for each in told(model, after_step=count_epochs)]


@pytest.mark.parametrize("adds_a_group", [False, True])
def test_it_looks_again_when_a_group_is_added(adds_a_group: bool) -> None:
    """What changes first after the first save is seen only then."""
    model, steps = Counter(), iter(range(1, 9))
    model.keep = lambda _: None  # type: ignore[method-assign]  # counts itself
    optimizer = torch.optim.SGD([model.linear.weight], lr=0.1)

    def begin_to_count() -> None:
        step = next(steps)
        model.steps += step >= 4
        if step == 4 and adds_a_group:
            optimizer.add_param_group({"params": [model.linear.bias]})

    found = told(model, optimizer=optimizer, steps=8, save_every=3, after_step=begin_to_count)
    assert (["model.steps"] if adds_a_group else []) == [each["path"] for each in found]


def test_it_is_a_warning_once_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it at the third step; later saves say nothing more."""
    training = build(tmp_path / "run")
    model: Any = training.model
    model.calls = 0

    def count(_: object) -> None:
        model.calls += 1

    with caplog.at_level(logging.WARNING, "unbroken"):
        train(training, 7, at_micro_batch=count)
    training.run.close()
    said = [each.getMessage() for each in caplog.records]
    assert 1 == len(said)
    assert "model.calls (int)" in said[0]
    assert 7 == training.run.position.step


def test_foreign_code_that_fails_ends_only_the_audit(tmp_path: Path) -> None:
    """An attribute that raises when it is compared does no harm to the training."""

    class Odd:
        __slots__ = ("value",)

        def __getattribute__(self, name: str) -> Any:
            if name == "value":
                raise OSError(name)
            return super().__getattribute__(name)

    training = build(tmp_path / "run")
    model: Any = training.model
    model.odd = Odd()
    train(training, 4)
    training.run.close()
    assert 4 == training.run.position.step
