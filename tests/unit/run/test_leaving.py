"""How a run ends is said: what is in no checkpoint, what trained nothing, what its calls can't do."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

import unbroken
from support.toy_training import build, train, train_step
from unbroken.journal.journal import read_lines


def events(run: unbroken.Run, event: str) -> list[dict[str, Any]]:
    return [each for each in read_lines(run.layout.history) if each["event"] == event]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]


def test_a_loop_that_is_left_says_what_is_not_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the steps it fell short of its goal; the history has it, and the close."""
    training = build(tmp_path, save_every=3)
    for step in training.run.steps(9):
        train_step(training, step)
        if step.number == 5:
            break
    training.run.close()
    (said,) = warnings_of(caplog)
    assert said.startswith(
        "The loop was left after step 5 of 9. Not saved: 2 steps since step-00000003."
    )
    assert [(5, 9)] == [(each["step"], each["until"]) for each in events(training.run, "left")]
    (closed,) = events(training.run, "closed")
    assert (5, 9, 2, 0, None) == tuple(
        closed[name] for name in ("step", "until", "unsaved_steps", "unsaved_samples", "error")
    )


def test_a_save_before_the_close_leaves_nothing_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither does a run that came to its goal."""
    training = build(tmp_path, save_every=0)
    for _ in range(2):
        step = training.run.begin_step()
        train_step(training, step)
    training.run.save()
    training.run.close()
    again = build(tmp_path, save_every=0)
    train(again, 4)
    again.run.close()
    assert not warnings_of(caplog)


def test_a_loop_of_ones_own_is_told_at_its_close(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may stand inside a step, before any checkpoint."""
    training = build(tmp_path, save_every=0)
    train_step(training, training.run.begin_step())
    for micro in training.run.begin_step().micro_batches(2):
        if micro.position.samples == 2:
            break
    training.run.close()
    (said,) = warnings_of(caplog)
    assert said.startswith(
        "The run was closed after step 1. Not saved: 1 step and 2 samples of step 2."
    )


def test_the_steps_after_a_stop_are_not_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are there for the next start to repeat."""
    training = build(tmp_path, save_every=0)
    with pytest.raises(unbroken.Stopped):
        train(training, 9, after_step=lambda _: training.run.stop.ask("a test"))
    training.run.close()
    assert not warnings_of(caplog)
    assert [(0, None)] == [
        (each["unsaved_steps"], each["error"]) for each in events(training.run, "closed")
    ]


def test_rates_of_0_are_said_at_once_and_counted_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A schedule whose end lies before the training's trains nothing from there on."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: max(0.0, 1 - done / 3))
    order = unbroken.StepBatches(["a", "b"], None, 1, 7)
    run = unbroken.Run(tmp_path, order=order, model=model, optimizer=optimizer, scheduler=schedule)
    run.resume()
    for step in run.steps(8):
        for _ in step.micro_batches(1):
            step.backward(model(torch.ones(1, 1)).sum())
        step.update()
        early = [each for each in warnings_of(caplog) if "learning rate 0 since step 4" in each]
        assert bool(early) == (step.number >= 5)
    run.close()
    assert "[Watch] learning rate 0 from step 4 to 8: 5 steps trained nothing" in warnings_of(
        caplog
    )
    assert ["idle rate", "idle rate"] == [each["kind"] for each in events(run, "watch")]


@pytest.mark.parametrize("lr", [(0.0, 0.1), (0.1, 0.0)])
def test_one_group_at_rate_0_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lr: tuple[float, float]
) -> None:
    """A part of the model may be frozen by its rate."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    groups = [
        {"params": each.parameters(), "lr": rate} for each, rate in zip(model, lr, strict=True)
    ]
    order = unbroken.StepBatches(["a", "b"], None, 1, 7)
    run = unbroken.Run(tmp_path, order=order, model=model, optimizer=torch.optim.SGD(groups))
    run.resume()
    for step in run.steps(4):
        for _ in step.micro_batches(1):
            step.backward(model(torch.ones(1, 1)).sum())
        step.update()
    run.close()
    assert not warnings_of(caplog)


def end_of_a_start(*, dies: bool) -> None:
    if dies:
        raise torch.OutOfMemoryError


@pytest.mark.parametrize("dies", [True, False])
def test_only_starts_that_died_are_counted_as_ones_that_completed_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, dies: bool
) -> None:
    """Who looks at a run and closes it was not out of memory; who closes it in an error may have been."""
    first = build(tmp_path)
    train(first, 3)
    first.run.close()
    for _ in range(3):
        training = build(tmp_path)
        with contextlib.suppress(torch.OutOfMemoryError), contextlib.closing(training.run):
            end_of_a_start(dies=dies)
    last = build(tmp_path)
    train(last, 4)
    last.run.close()
    assert dies == any(
        "the last 3 starts from here completed no step" in each.getMessage()
        for each in caplog.records
    )


def test_calls_at_the_wrong_time_are_errors_of_the_library(tmp_path: Path) -> None:
    """Three texts and a way on, and still the built-in kind that a program may have caught before."""
    training = build(tmp_path)
    step = training.run.begin_step()
    with pytest.raises(unbroken.RunMisused, match=r"after 0 of the \d samples of step 1") as early:
        step.update()
    with pytest.raises(unbroken.RunMisused, match=r"Step 1 was left without step\.update") as left:
        for _ in training.run.steps(2):
            pass
    training.run.close()
    for each in (early, left):
        assert isinstance(each.value, RuntimeError)
        assert 2 == each.value.exit_code
        assert each.value.why
        assert each.value.remedy
