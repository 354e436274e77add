"""A step that can't be done is left out: no update, journalled, and exact at a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from unbroken.journal.journal import last_line_of_each_step
from unbroken.replay.replay import ReplayOutcome

SAMPLES = 24
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))
BAD = 13


class TooLong(Exception):
    """Stands for what a sample or the memory does to a forward pass."""


def read(indices: tuple[int, ...], bad: int) -> torch.Tensor:
    """Return samples, (N, 4) float32.

    Raises:
        TooLong: A bad one is among them.
    """
    if bad in indices:
        raise TooLong("a sample of 9 minutes")
    return DATA[list(indices)]


def train(
    directory: Path, until: int, *, bad: int = BAD, says: bool = True, leave_after: int = 0
) -> unbroken.Run:
    """Train; a bad sample fails after a forward and a backward pass of the same step, if it can."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    order = unbroken.StepBatches([f"s{i}" for i in range(SAMPLES)], None, 4, 1)
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer, save_every=3)
    run.resume()
    for step in run.steps(until):
        try:
            for micro in step.micro_batches(1):
                step.backward(model(read(micro.indices, bad)).square().sum() / 4)
        except TooLong as error:
            if says:
                result = step.give_up(str(error))
                assert (step.number, True) == (result.step, result.skipped)
            else:
                optimizer.zero_grad()
            continue
        step.update()
        if leave_after == run.position.step:
            break
    run.close()
    return run


def lines(run: unbroken.Run) -> list[dict[str, Any]]:
    """Return the journal but for the starts that wrote it."""
    return [each | {"start": 0} for each in last_line_of_each_step(run.layout.journal).values()]


def weights(run: unbroken.Run) -> list[torch.Tensor]:
    return [each.detach() for each in run.state.trained.values()]


@pytest.mark.parametrize("says", [True, False])
def test_the_training_goes_on_without_the_step(tmp_path: Path, says: bool) -> None:
    """One step an epoch is given up; it is counted, its update is not, and no loss is invented.

    A loop that only clears the gradients and goes on is understood, too.
    """
    run = train(tmp_path, 12, says=says)
    given_up = [each for each in lines(run) if "given_up" in each]
    assert (12, 10) == (run.position.step, run.position.updates)
    assert 2 == len(given_up)
    for line in given_up:
        assert line["skipped"] is True
        assert "loss" not in line
        assert ("9 minutes" if says else "in its midst") in line["given_up"]


def test_a_resume_repeats_that_it_was_given_up(tmp_path: Path) -> None:
    """Killed after it, the run repeats it as such: the same journal, the same weights, EXACT."""
    whole = train(tmp_path / "whole", 12)
    directory = tmp_path / "killed"
    stopped = train(directory, 12, leave_after=8)
    assert lines(stopped)[6]["given_up"]
    assert not (directory / "checkpoints/step-00000008").exists()
    again = train(directory, 12)
    verdict = again.monitor.verdict
    assert verdict is not None
    assert ReplayOutcome.EXACT is verdict.outcome
    assert lines(whole) == lines(again)
    for a, b in zip(weights(whole), weights(again), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_is_done_now_is_another_training(tmp_path: Path) -> None:
    """Where the bad sample was mended meanwhile, the repeated step is told by its name."""
    train(tmp_path, 12, leave_after=8)
    with pytest.raises(
        unbroken.Diverged, match="the step was made and had been given up"
    ) as raised:
        train(tmp_path, 12, bad=-1)
    assert "step 7" in raised.value.what


def test_a_step_that_is_forgotten_is_not_given_up(tmp_path: Path) -> None:
    """Gradients that stand, or a step that wasn't begun, are a mistake of the loop."""
    model = nn.Linear(4, 1)
    order = unbroken.StepBatches([f"s{i}" for i in range(SAMPLES)], None, 4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = unbroken.Run(tmp_path, order=order, model=model, optimizer=optimizer)
    run.resume()

    def train_half_a_step() -> None:
        for step in run.steps(2):
            for micro in step.micro_batches(1):
                step.backward(model(DATA[list(micro.indices)]).square().sum())
                break

    with pytest.raises(unbroken.RunMisused, match="Step 1 was left without"):
        list(run.steps(2))
    with pytest.raises(unbroken.RunMisused, match="Step 1 was left without"):
        train_half_a_step()
    run.close()
