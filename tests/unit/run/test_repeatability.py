"""A run whose arithmetic does not repeat itself is told so, and is never called another training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.noisy_arithmetic import restless
from unbroken.checkpoint.layout import Layout
from unbroken.doctor.ledger import examine_ledger
from unbroken.journal.journal import read_lines
from unbroken.replay.replay import ReplayOutcome
from unbroken.run.repeatability import Repeatability

SAMPLES = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
Change = Callable[[torch.Tensor], torch.Tensor]


def as_it_is(given: torch.Tensor) -> torch.Tensor:
    return given


class Model(nn.Module):
    """Has all that a pass of its own could move: statistics, a counter, random numbers."""

    def __init__(self, inside: Change) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Linear(16, 1)
        self.inside = inside
        self.calls = 0

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        hidden = nn.functional.dropout(self.norm(self.first(given)), 0.1)
        found: torch.Tensor = self.last(self.inside(hidden))
        return found


class Training:
    """A training of which a part may be noisy: what the model computes, or what the loop does with it."""

    def __init__(
        self, directory: Path, *, inside: Change = as_it_is, outside: Change = as_it_is
    ) -> None:
        torch.manual_seed(0)
        self.model = Model(inside)
        self.outside = outside
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        names = [f"sample-{i}" for i in range(len(SAMPLES))]
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches(names, None, 8, 7),
            model=self.model,
            optimizer=self.optimizer,
            save_every=0,
        )
        self.run.resume()

    def train(
        self,
        until: int,
        *,
        save_at: int = 0,
        leave_at: int = 0,
        batches: Iterator[torch.Tensor] | None = None,
    ) -> None:
        for step in self.run.steps(until):
            for micro in step.micro_batches(4):
                given = SAMPLES[list(micro.indices)] if batches is None else next(batches)
                found = self.outside(self.model(given))
                step.backward((found - given.sum(1, keepdim=True)).square().sum() / 8)
            step.update()
            if save_at == step.number:
                self.run.save()
            if leave_at == step.number:
                break


def killed(directory: Path, **noise: Any) -> None:
    """Train eight steps of which the last three are in no checkpoint."""
    training = Training(directory, **noise)
    training.train(99, save_at=5, leave_at=8)
    training.run.close()


def told(directory: Path) -> list[dict[str, Any]]:
    history = read_lines(directory / "history.jsonl")
    return [each for each in history if each["event"] == "repeatability"]


def slightly(share: float) -> Change:
    return lambda given: given * (1 + share)


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_noise_is_equivalent_and_named(tmp_path: Path, where: str) -> None:
    """Rounding that the machine does by itself is no other training, wherever the loop has it."""
    killed(tmp_path, **{where: restless})
    resumed = Training(tmp_path, **{where: restless})
    resumed.train(10)
    verdict = resumed.run.monitor.verdict
    assert verdict is not None
    assert ReplayOutcome.EQUIVALENT is verdict.outcome
    assert verdict.reason.startswith("this run does not repeat itself: ")
    assert 10 == resumed.run.position.step


def test_steps_that_are_repeated_in_one_process_use_no_sample_twice(tmp_path: Path) -> None:
    """The checkpoint was put back before: the history says so, and the ledger is proved."""
    killed(tmp_path, outside=restless)
    resumed = Training(tmp_path, outside=restless)
    resumed.train(10)
    resumed.run.close()
    history = read_lines(tmp_path / "history.jsonl")
    assert {5} == {each["step"] for each in history if each["event"] == "put back"}
    found = examine_ledger(Layout(tmp_path))
    assert found is not None
    assert ("proved", 10) == (found.outcome, found.steps)
    assert found.repeated > 3


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_one_per_cent_is_found_in_the_noise(tmp_path: Path, where: str) -> None:
    """Noise excuses no more than rounding."""
    killed(tmp_path, **{where: restless})

    def off(given: torch.Tensor) -> torch.Tensor:
        return restless(given) * 1.01

    with pytest.raises(unbroken.Diverged):
        Training(tmp_path, **{where: off}).train(10)


def test_a_difference_that_repeats_itself_is_no_noise(tmp_path: Path) -> None:
    """As little as rounding, but the same in every pass: something changed since the first time."""
    killed(tmp_path)
    with pytest.raises(unbroken.Diverged):
        Training(tmp_path, outside=slightly(3e-7)).train(10)


def batches_from(step: int) -> Iterator[torch.Tensor]:
    """Yield the micro-batches after a step, as a loader does that goes on by itself."""
    order = unbroken.StepBatches([f"sample-{i}" for i in range(24)], None, 8, 7)
    position = unbroken.Position()
    for number in range(1, 20):
        indices = list(order.at(position))
        position = order.after(position)
        if number > step:
            yield from (SAMPLES[indices[:4]], SAMPLES[indices[4:]])


def test_a_loop_that_goes_on_by_itself_is_repeated_once_only(tmp_path: Path) -> None:
    """It would train on other samples: that start ends, and the next one leaves the question open."""
    killed(tmp_path, outside=restless)
    with pytest.raises(unbroken.Diverged, match="the loop goes on with what follows"):
        Training(tmp_path, outside=restless).train(10, batches=batches_from(5))
    again = Training(tmp_path, outside=restless)
    again.train(10, batches=batches_from(5))
    verdict = again.run.monitor.verdict
    assert verdict is not None
    assert ReplayOutcome.UNPROVED is verdict.outcome
    assert 10 == again.run.position.step


def test_what_was_measured_is_told_once_in_an_environment(tmp_path: Path) -> None:
    """The second start knows it from the first."""
    killed(tmp_path, inside=restless)
    Training(tmp_path, inside=restless).train(6)
    (measured,) = told(tmp_path)
    assert 1e-8 < measured["gradient"] < 1e-5
    assert 0 == measured["outputs"]


def test_it_is_said_at_the_first_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Before anything depends on it; of a run that repeats itself nothing is said."""
    Training(tmp_path / "noisy", inside=restless).train(1)
    assert "this run does not repeat itself" in caplog.text
    caplog.clear()
    Training(tmp_path / "exact").train(1)
    assert "repeat" not in caplog.text
    assert (0, 0) == (
        told(tmp_path / "exact")[0]["outputs"],
        told(tmp_path / "exact")[0]["gradient"],
    )


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    """Weights, statistics, counters and generators are what they are without it."""
    measured, plain = Training(tmp_path / "measured"), Training(tmp_path / "plain")
    plain.run.monitor._repeatability.close()  # type: ignore[union-attr]  # no public way
    for each in (measured, plain):
        each.train(2)
    assert 4 == measured.model.calls == plain.model.calls
    assert not measured.model._forward_pre_hooks  # no public way shows them
    for a, b in zip(
        measured.model.state_dict().values(), plain.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_what_can_not_be_measured_is_told_with_the_reason(tmp_path: Path) -> None:
    """A loop that calls no model, or one that can't be copied."""
    training = Training(tmp_path)
    training.model.left = training.model.first.weight * 2  # part of a graph
    training.train(1)
    assert told(tmp_path)[0]["unmeasured"].startswith("model: RuntimeError: Only Tensors created")


def test_compiled_models_are_left_alone() -> None:
    """A hook would be compiled with them, and a copy would run otherwise."""
    model, said = nn.Linear(2, 2), []
    compiled = torch.compile(model, backend="eager")
    Repeatability({"model": model}, None, lambda _, why: said.append(why)).step_done()
    assert said == ["model: it is compiled, and a copy of it would not be"]
    assert not model._forward_pre_hooks  # no public way shows them
    del compiled


def test_what_is_inside_a_model_is_measured_where_the_loop_calls_that(tmp_path: Path) -> None:
    """A loop that calls the modules inside a model, and never the model, is measured by these."""
    model = nn.ModuleDict({"body": nn.Linear(4, 8), "heads": nn.ModuleList([nn.Linear(8, 1)])})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run = unbroken.Run(tmp_path, model=model, optimizer=optimizer, seed=1)
    for _ in run.iterations(until=2):
        optimizer.zero_grad()
        model["heads"][0](model["body"](torch.randn(3, 4))).square().mean().backward()  # type: ignore[index]
        optimizer.step()
    run.close()
    told = [line for line in read_lines(run.layout.history) if line.get("event") == "repeatability"]
    assert [0.0] == [line.get("gradient") for line in told]
