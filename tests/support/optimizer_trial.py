"""One optimiser, trained whole, and saved and gone on with: is it the same to the last bit?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import unbroken
from support.sameness import same
from unbroken.audit.self_audit import UNSAVED
from unbroken.journal.journal import read_lines
from unbroken.replay.replay import ReplayOutcome
from unbroken.run.flat_state import flat
from unbroken.state.digest import bytes_digest, combined_digest
from unbroken.state.training_state import TrainingState
from unbroken.tree import map_leaves

STEPS, SAVED_AFTER = 8, 3

Way = Literal["plain", "closure", "graph", "two passes", "fused backward"]
"""How a loop drives the optimiser: `step()`; with a closure; after `backward(create_graph=True)`;
`first_step` and `second_step`; `fused_backward(loss, rate)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerTrial:
    """An optimiser as its users build and drive it."""

    name: str
    build: Callable[[nn.Module], Any]
    way: Way = "plain"
    sparse: bool = False
    """Whether the embedding has sparse gradients, and is what the optimiser trains."""
    matrices: bool = False
    """Whether the model has nothing but matrices."""
    device: str = "cpu"
    """Where it trains."""


class Net(nn.Module):
    """A small model with an embedding, matrices, biases and a norm."""

    def __init__(self, *, sparse: bool, matrices: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 6, sparse=sparse)
        self.one = nn.Linear(6, 8, bias=not matrices)
        self.norm = nn.Identity() if matrices else nn.LayerNorm(8)
        self.two = nn.Linear(8, 4, bias=not matrices)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B,) int64 -> (B, 4)."""
        found: torch.Tensor = self.two(torch.tanh(self.norm(self.one(self.table(ids)))))
        return found


class Objects:
    """Model, optimiser and their state, as a start builds them."""

    def __init__(self, trial: OptimizerTrial) -> None:
        torch.manual_seed(0)
        self.trial = trial
        self.model = Net(sparse=trial.sparse, matrices=trial.matrices).to(trial.device)
        self.optimizer = trial.build(self.model)
        self.state = TrainingState(
            {"model": self.model, "optimizer": self.optimizer}, [self.optimizer]
        )

    def train(self, first: int, last: int) -> None:
        """Make the steps from `first` on, before `last`."""
        for number in range(first, last):
            torch.manual_seed(number)
            self.update(torch.randint(0, 8, (8,)))

    def update(self, ids: torch.Tensor) -> None:
        ids = ids.to(self.trial.device)

        def loss() -> torch.Tensor:
            wanted = torch.linspace(-1, 1, 4, device=ids.device) * (ids[:, None] - 3.5)
            found: torch.Tensor = (self.model(ids) - wanted).square().mean()
            return found

        def closure() -> torch.Tensor:
            self.optimizer.zero_grad()
            with torch.enable_grad():
                value = loss()
            value.backward()
            return value

        for switch in (self.model.train, getattr(self.optimizer, "train", None)):
            if callable(switch):
                switch()
        if self.trial.way == "closure":
            closure()  # some look at the gradients before they ask for more
            self.optimizer.step(closure)
        elif self.trial.way == "graph":
            loss().backward(create_graph=True)
            self.optimizer.step()
        elif self.trial.way == "two passes":
            closure()
            self.optimizer.first_step(zero_grad=True)
            loss().backward()
            self.optimizer.second_step(zero_grad=True)
        elif self.trial.way == "fused backward":
            self.optimizer.fused_backward(loss(), 1e-2)
        else:
            closure()
            self.optimizer.step()
        self.optimizer.zero_grad()
        for parameter in self.model.parameters():
            parameter.grad = None


class Training:
    """A run of a trial's optimiser."""

    def __init__(self, trial: OptimizerTrial, directory: Path | str) -> None:
        self._objects = objects = Objects(trial)
        order = unbroken.StepBatches([f"s{i}" for i in range(64)], None, 8, 1)
        self.run = unbroken.Run(
            directory, order=order, model=objects.model, optimizer=objects.optimizer, save_every=0
        )
        self.run.resume("auto")

    def until(self, step: int) -> None:
        """Train until `step` steps are completed."""
        while self.run.position.step < step:
            given = self.run.begin_step()
            self.run.seed_micro_batch()
            self._objects.update(torch.tensor(given.indices) % 8)
            self.run.micro_batch_done(len(given.indices))
            self.run.end_step({"loss": 0.0}, rate=0.0, grad_norm=0.0)
            self.run.save_in_background()

    def state(self) -> dict[str, Any]:
        """Return copies of all that the run holds."""
        return {name: _copied(each) for name, each in self.run.state.capture().items()}


def _copied(value: Any) -> Any:
    return map_leaves(
        value, lambda _, each: each.detach().clone() if isinstance(each, torch.Tensor) else each
    )


def exact_in_one_process(trial: OptimizerTrial, directory: Path) -> list[str]:
    """Train and save after step 3; go on from there in new objects, which repeat the steps beyond.

    Returns:
        The parts in which both ends differ, and what the resume said of the repeated steps otherwise.

    Raises:
        AssertionError: The self-audit called something lost that comes back.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        whole = Training(trial, directory)
        whole.until(SAVED_AFTER)
        whole.run.save()
        whole.until(STEPS)
        expected = whole.state()
        whole.run.close()
        other = Training(trial, directory)
        other.until(STEPS)
        other.run.save()
        found = other.state()
        other.run.close()
    require_no_alarm(other.run)
    verdict = other.run.monitor.verdict
    is_proved = verdict is not None and verdict.outcome is ReplayOutcome.EXACT
    return differing(expected, found) + ([] if is_proved else [f"the replay: {verdict}"])


def require_no_alarm(run: unbroken.Run) -> None:
    """Fail where the self-audit called something lost."""
    history = read_lines(run.layout.history)
    named = [one["path"] for each in history if each["event"] == UNSAVED for one in each["found"]]
    assert [] == named, f"called lost: {', '.join(named)}"


def train_on(
    trial: OptimizerTrial, directory: Path | str, until: int, *, saved_after: int = 0
) -> dict[str, Any]:
    """Begin or go on with a run of a trial; return what it holds. The run is left open.

    Raises:
        AssertionError: The self-audit called something lost that comes back.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        training = Training(trial, directory)
        if saved_after:
            training.until(saved_after)
            training.run.save()
        training.until(until)
        if not saved_after:  # else the next start is to repeat the step
            training.run.save()
    require_no_alarm(training.run)
    return training.state()


def state_digest(state: dict[str, Any]) -> str:
    """Return one digest over values, names and tensors of a state."""
    values, tensors = flat(state)
    whole = combined_digest(tensors.items())
    return bytes_digest(f"{whole} {sorted(values.items(), key=str)}".encode())


def differing(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the parts in which two ends of a training differ."""
    return [name for name in whole if not same(whole[name], other[name])]
