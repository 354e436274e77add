from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
import torch

import unbroken
from support.listed_trackers import Asked, Listed, Rows, lines_of, train_until
from support.sameness import same
from support.tracked_training import BATCHES, EPOCHS, train
from unbroken.checkpoint.layout import Layout
from unbroken.trackers import tracking


def test_each_step_comes_once_whole_and_as_the_journal_has_it(tmp_path: Path) -> None:
    """Losses, rate and gradient norm of each step; a score with the step it was measured after."""
    tracker = Listed()
    train(tmp_path, [tracker])
    expected: Rows = [
        (
            int(each["step"]),
            {f"train/{name}": each[name] for name in ("loss", "lr", "grad_norm") if name in each},
        )
        for each in lines_of(tmp_path)
    ]
    assert expected == [
        (step, {name: each for name, each in values.items() if name.startswith("train/")})
        for step, values in tracker.rows
    ]
    measured = [step for step, values in tracker.rows if "val_loss" in values]
    assert [BATCHES * epoch for epoch in range(1, EPOCHS + 1)] == measured
    assert tracker.is_closed


def test_trackers_change_nothing(tmp_path: Path, whole: tuple[Rows, torch.nn.Module]) -> None:
    """With two of them the weights are those of a run without, and both get all."""
    first, second = Listed(), Asked()
    with_two = train(tmp_path / "two", [first, second])
    without = train(tmp_path / "none", [])
    assert same(without.state_dict(), with_two.state_dict())
    assert whole[0] == first.rows == second.rows


def test_without_trackers_the_directory_is_as_before(tmp_path: Path) -> None:
    """No file and no line is for nobody."""
    train(tmp_path, [])
    assert not (tmp_path / "trackers.json").exists()
    assert '"scores"' not in (tmp_path / "history.jsonl").read_text()


@pytest.mark.parametrize("kind", [Listed, Asked])
def test_steps_that_are_trained_again_come_once(
    tmp_path: Path, whole: tuple[Rows, torch.nn.Module], kind: type[Listed]
) -> None:
    """Whether the tracker knows what it has or not, and under one id."""
    rows: Rows = []
    ids = []
    for step in (5, 16, 17):
        tracker = kind(rows)
        train_until(tmp_path, tracker, step)
        ids += tracker.ids
    last = kind(rows)
    train(tmp_path, [last])
    assert whole[0] == rows
    assert 1 == len({*ids, *last.ids})


def test_what_a_tracker_has_lost_comes_again(
    tmp_path: Path, whole: tuple[Rows, torch.nn.Module]
) -> None:
    """One that was killed with rows in its memory only gets them from the journal, scores too."""
    rows: Rows = []
    train_until(tmp_path, Asked(rows), 17)
    del rows[2:]
    train(tmp_path, [Asked(rows)])
    assert whole[0] == rows


def test_a_tracker_that_joins_later_gets_the_whole_curve(
    tmp_path: Path, whole: tuple[Rows, torch.nn.Module]
) -> None:
    """Its steps are in the journal; scores are in the history where another tracker was there."""
    train_until(tmp_path, Listed(), 13)

    class Late(Listed):
        pass

    late = Late()
    train(tmp_path, [late])
    assert whole[0] == late.rows


def test_another_run_in_the_directory_is_another_run_of_the_tracker(tmp_path: Path) -> None:
    """The id is the run's own, and steps of the run before count for nothing."""
    ids = []
    for _ in range(2):
        tracker = Listed()
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = unbroken.Run(tmp_path, model=model, optimizer=optimizer, seed=1, trackers=[tracker])
        run.resume("")
        for _ in run.iterations(3):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        run.close()
        assert [run.run_id] == tracker.ids
        assert [1, 2, 3] == [step for step, _ in tracker.rows]
        ids += tracker.ids
    assert 2 == len(set(ids))


def test_steps_of_a_run_with_an_order_come_too(tmp_path: Path) -> None:
    """With what was given to `backward`, and a step that was given up has no loss."""
    tracker = Listed()
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    order = unbroken.StepBatches(["a", "b"], lengths=None, effective_batch=1, seed=1)
    run = unbroken.Run(tmp_path, order=order, model=model, optimizer=optimizer, trackers=[tracker])
    run.resume("auto")
    for step in run.steps(until=3):
        if step.number == 2:
            step.give_up("too long")
            continue
        for _ in step.micro_batches(size=1):
            step.backward(model(torch.ones(1, 2)).sum(), hits=0.5)
        step.update()
    run.close()
    assert [(1, 0.5), (2, None), (3, 0.5)] == [
        (step, values.get("train/hits")) for step, values in tracker.rows
    ]
    assert all("train/lr" in values for _, values in tracker.rows)


def test_what_a_process_repeats_comes_once_and_a_late_score_alone(tmp_path: Path) -> None:
    """Steps that the replay makes twice in one process; a score that is measured after the hand-over."""
    tracker, notes = Listed(), []
    shown = tracking.Tracking(
        [tracker],
        Layout(tmp_path),
        "id",
        0,
        lambda event, **details: notes.append((event, details)),
    )
    for step in (1, 2, 1, 2, 3):
        shown.step(step, {"loss": float(step)}, math.nan, math.nan)
        shown.hand_over(step, {"first": 1.0} if step == 1 else {})
    shown.hand_over(3, {"val_loss": 0.5})
    shown.hand_over(3, {"val_loss": 0.5})
    shown.close(is_stopped=False)
    assert [
        (1, {"train/loss": 1.0, "first": 1.0}),
        (2, {"train/loss": 2.0}),
        (3, {"train/loss": 3.0}),
        (3, {"val_loss": 0.5}),
    ] == tracker.rows
    assert [
        ("scores", {"step": 1, "values": {"first": 1.0}}),
        ("scores", {"step": 3, "values": {"val_loss": 0.5}}),
    ] == notes


def test_a_stop_hands_over_no_step_that_the_next_start_repeats(
    tmp_path: Path, whole: tuple[Rows, torch.nn.Module]
) -> None:
    """Two steps follow a save at a stop; what is measured after them may be cut short."""
    tracker = Listed()
    with pytest.MonkeyPatch.context() as patch:
        log = unbroken.Run.log

        def stop(run: unbroken.Run, **values: object) -> None:
            log(run, **values)
            if run.position.step == 12:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(unbroken.Run, "log", stop)
        with pytest.raises(unbroken.Stopped):
            train(tmp_path, [tracker])
    rows = list(tracker.rows)
    assert lines_of(tmp_path)[-1]["step"] > rows[-1][0]
    again = Listed(rows)
    train(tmp_path, [again])
    assert whole[0] == rows
