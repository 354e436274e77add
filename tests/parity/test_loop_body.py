"""What a loop's body does outside its micro-batches happens exactly once, whatever is interrupted."""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.deadly_starts import forked

DATA = torch.randn(24, 4, generator=torch.Generator().manual_seed(5))
NAMES = [f"sample-{i}" for i in range(len(DATA))]
At = Callable[[unbroken.Run], None]


class Counter:
    """A part that counts what the loop does."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        """Return the count."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the count in."""
        self.count = state["count"]


class Training:
    """Objects of a run that is averaged, scheduled and counted by its loop."""

    def __init__(self, directory: Path, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 1))
        self.teacher = nn.Linear(6, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.counter = Counter()
        self.drawn: list[float] = []
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches(NAMES, lengths=None, effective_batch=8, seed=1),
            model=self.model,
            optimizer=self.optimizer,
            teacher=self.teacher,
            schedule=self.schedule,
            counter=self.counter,
            **options,
        )
        self.run.resume()

    def result(self) -> dict[str, Any]:
        """Return all that has to come out the same."""
        tensors = {
            **self.model.state_dict(),
            **{f"t.{k}": v for k, v in self.teacher.state_dict().items()},
        }
        return {
            **{name: each.tolist() for name, each in tensors.items()},
            "rate": self.optimizer.param_groups[0]["lr"],
            "count": self.counter.count,
            "step": self.run.position.step,
        }


def zero_to_none(training: Training) -> None:
    training.optimizer.zero_grad()


def zero_in_place(training: Training) -> None:
    training.optimizer.zero_grad(set_to_none=False)


@torch.no_grad()
def average(training: Training) -> None:
    last = training.model[2]
    assert isinstance(last, nn.Linear)
    for mean, each in zip(training.teacher.parameters(), last.parameters(), strict=True):
        mean.lerp_(each, 0.5)


def schedule(training: Training) -> None:
    if training.run.position.step:
        training.schedule.step()


def draw(training: Training) -> None:
    training.drawn = [random.random(), float(torch.rand(()))]  # noqa: S311  # the global one is meant
    training.counter.count += 1


TOPS = [zero_to_none, zero_in_place, average, schedule, draw]


def by_steps(directory: Path, top: Callable[[Training], None], at: At, **options: Any) -> Training:
    """Train six steps; the body begins with `top`."""
    training = Training(directory, **options)
    for step in training.run.steps(until=6):
        top(training)
        for micro in step.micro_batches(2):
            at(training.run)
            noise = training.drawn[0] if training.drawn else 1.0
            output = training.model(DATA[list(micro.indices)])
            step.backward((output - noise).square().sum() / len(step.indices))
        step.update()
    training.run.close()
    return training


def nothing(run: unbroken.Run) -> None:
    """Let the training go on."""


def stop_at(step: int, samples: int) -> At:
    """Ask for a stop with a real signal at a position."""

    def at(run: unbroken.Run) -> None:
        if (run.position.step, run.position.samples) == (step, samples):
            os.kill(os.getpid(), signal.SIGTERM)

    return at


@pytest.mark.parametrize("grace_seconds", [0.001, 60.0])
@pytest.mark.parametrize("top", TOPS)
def test_the_beginning_of_a_step_acts_once(
    tmp_path: Path, top: Callable[[Training], None], grace_seconds: float
) -> None:
    """A step that is resumed inside has its beginning run again, and it comes out as if it had not."""
    whole = by_steps(tmp_path / "whole", top, nothing)
    with pytest.raises(unbroken.Stopped):
        by_steps(tmp_path / "stopped", top, stop_at(3, 4), grace_seconds=grace_seconds)
    resumed = by_steps(tmp_path / "stopped", top, nothing)
    assert whole.result() == resumed.result()


def test_what_is_drawn_before_the_micro_batches_differs_by_step(tmp_path: Path) -> None:
    """Choices at the top of the body vary, and a resume repeats none and leaves out none."""
    drawn: list[str] = []

    def note(training: Training) -> None:
        draw(training)
        drawn.append(str(training.drawn))

    by_steps(tmp_path / "whole", note, nothing)
    whole = list(drawn)
    assert 6 == len(set(whole))
    drawn.clear()
    with pytest.raises(unbroken.Stopped):
        by_steps(tmp_path / "stopped", note, stop_at(3, 4), grace_seconds=0.001)
    by_steps(tmp_path / "stopped", note, nothing)
    assert [*whole[:4], *whole[3:]] == drawn  # the step that was begun draws the same again


def by_epochs(directory: Path, at: Callable[[str], None], **options: Any) -> Training:
    """Train four epochs; each ends with a schedule, an average and a count, and may be interrupted."""
    training = Training(directory, **options)
    for epoch in training.run.epochs(4):
        at(f"begin {epoch}")
        for step in training.run.steps():
            for micro in step.micro_batches(4):
                at(f"micro {step.number}")
                output = training.model(DATA[list(micro.indices)])
                step.backward(output.square().sum() / len(step.indices))
            step.update()
            at(f"updated {step.number}")
        at(f"work {epoch}")
        training.schedule.step()
        at(f"scheduled {epoch}")
        average(training)
        training.counter.count += 1
        at(f"worked {epoch}")
    training.run.close()
    return training


def dies_at(number: int) -> tuple[Callable[[str], None], Iterator[int]]:
    """Return what kills the process at a moment, by its number."""
    count = itertools.count(1)

    def at(moment: str) -> None:
        del moment
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at, count


@pytest.mark.parametrize("save_every", [1, 0])
def test_the_work_of_an_epoch_is_done_once(tmp_path: Path, save_every: int) -> None:
    """Killed at every moment of an epoch and its work, it ends as the run that never was."""
    options = {"save_every": save_every, "keep": 2}
    whole = by_epochs(tmp_path / "whole", lambda _: None, **options).result()
    for number in range(10, 15):  # the last update of the first epoch, its work, the next beginning
        place = tmp_path / str(number)
        died = forked(lambda place=place, n=number: by_epochs(place, dies_at(n)[0], **options))  # type: ignore[misc]  # mypy can't infer a lambda's defaults
        assert -signal.SIGKILL == died
        assert whole == by_epochs(place, lambda _: None, **options).result()


def test_a_stop_in_the_work_is_honoured_after_it(tmp_path: Path) -> None:
    """The checkpoint of a stop holds the whole work, and the next start does not repeat it."""
    moments: list[str] = []

    def at(moment: str) -> None:
        moments.append(moment)
        if moment == "work 1":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(unbroken.Stopped, match="step-00000006"):
        by_epochs(tmp_path, at, grace_seconds=0.001)
    assert "worked 1" == moments[-1]
    again: list[str] = []
    by_epochs(tmp_path, again.append)
    assert "begin 2" == again[0]


def test_a_save_in_the_work_is_made_after_it(tmp_path: Path) -> None:
    """`save()` is refused there; what is wanted at once is saved when the work is done."""
    training = Training(tmp_path, save_every=0)
    for epoch in training.run.epochs(2):
        for step in training.run.steps():
            for micro in step.micro_batches(8):
                step.backward(training.model(DATA[list(micro.indices)]).sum())
            step.update()
        if epoch == 0:
            with pytest.raises(unbroken.SaveFailed, match="work at the end of epoch 0"):
                training.run.save()
            training.run.save_in_background(at_once=True)
            training.schedule.step()
    training.run.close()
    saved = sorted(each.name for each in training.run.layout.checkpoints.iterdir())
    assert ["step-00000003", "step-00000006"] == saved


def test_an_epoch_that_leaves_out_steps_is_refused(tmp_path: Path) -> None:
    """Breaking out of an epoch's steps would leave out samples without a trace."""
    training = Training(tmp_path)

    def train_one_step_of_each_epoch() -> None:
        for _ in training.run.epochs(2):
            for step in training.run.steps():
                for micro in step.micro_batches(8):
                    step.backward(training.model(DATA[list(micro.indices)]).sum())
                step.update()
                break

    with pytest.raises(unbroken.StateMismatch, match="after 1 of its step batches"):
        train_one_step_of_each_epoch()
    training.run.close()


def test_steps_end_somewhere(tmp_path: Path) -> None:
    """Outside of an epoch `steps()` has to be told until when."""
    training = Training(tmp_path)
    with pytest.raises(unbroken.SettingsInvalid, match="until="):
        next(training.run.steps())
    training.run.close()


def test_what_changes_between_two_goals_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Work between two calls of `steps(until)` is in the next checkpoint, with a word about epochs."""
    training = Training(tmp_path, save_every=0)
    for step in training.run.steps(until=3):
        for micro in step.micro_batches(8):
            step.backward(training.model(DATA[list(micro.indices)]).sum())
        step.update()
    training.schedule.step()
    rate = training.optimizer.param_groups[0]["lr"]
    next(training.run.steps(until=6))
    training.run.close()
    assert "run.epochs" in caplog.text
    resumed = Training(tmp_path)
    assert 3 == resumed.run.position.step
    assert rate == resumed.optimizer.param_groups[0]["lr"]
    resumed.run.close()


def test_a_loop_of_its_own_makes_four_calls(tmp_path: Path) -> None:
    """begin_step, micro_batch, end_step and save train the run that `steps` trains."""

    def own(directory: Path) -> Training:
        training = Training(directory)
        run = training.run
        while run.position.step < 6:
            step = run.begin_step()
            for start in range(run.position.samples, len(step.indices), 2):
                indices = list(step.indices[start : start + 2])
                with run.micro_batch(len(indices)):
                    output = training.model(DATA[indices])
                    step.backward((output - 1.0).square().sum() / len(step.indices))
            losses = step.losses()
            training.optimizer.step()
            training.optimizer.zero_grad()
            run.end_step(losses)
            run.save()
        run.close()
        return training

    whole = by_steps(tmp_path / "whole", zero_to_none, nothing)
    assert whole.result() == own(tmp_path / "own").result()


def test_a_micro_batch_that_fails_is_not_counted(tmp_path: Path) -> None:
    """An error inside leaves the position where it was."""
    training = Training(tmp_path)
    training.run.begin_step()
    with pytest.raises(ZeroDivisionError), training.run.micro_batch(2):
        raise ZeroDivisionError
    assert 0 == training.run.position.samples
    training.run.close()
