from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import unbroken
from support.listed_trackers import Failing, Listed, Rows, lines_of, train_until
from support.sameness import same
from support.tracked_training import STEPS, train
from unbroken.trackers import delivery, tracking


@pytest.mark.parametrize("call", ["begin", "log", "close"])
def test_a_failing_tracker_stops_nothing(
    tmp_path: Path,
    whole: tuple[Rows, torch.nn.Module],
    call: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told once, with what to do; the other tracker gets all, and training ends alike."""
    failing, other = Failing(call), Listed()
    with caplog.at_level(logging.WARNING, "unbroken"):
        model = train(tmp_path, [failing, other])
    told = [each.getMessage() for each in caplog.records if "TRACKER" in each.getMessage()]
    assert 1 == len(told) == failing.calls
    assert "Failing failed with ConnectionError: no route to host" in told[0]
    assert "the next start hands over what is missing" in told[0]
    assert same(whole[1].state_dict(), model.state_dict())
    assert whole[0] == other.rows


def test_the_start_after_a_failure_hands_over_what_is_missing(
    tmp_path: Path, whole: tuple[Rows, torch.nn.Module]
) -> None:
    """Nothing is lost by an hour without a network."""
    rows: Rows = []
    train_until(tmp_path, Failing("log", rows), 17)
    assert [1, 2, 3, 4, 5] == [step for step, _ in rows]
    train(tmp_path, [Failing("never", rows)])
    assert whole[0] == rows


def test_a_tracker_that_hangs_holds_no_step_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends, and says that not everything was taken in."""
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.1)
    answer = threading.Event()

    class Hanging(Listed):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            del step, values
            answer.wait(60)

    train(tmp_path, [Hanging()])
    answer.set()
    assert STEPS == lines_of(tmp_path)[-1]["step"]
    assert "Hanging has not taken in everything in time" in caplog.text


def test_a_tracker_that_is_too_slow_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for it would fill the memory; it is told once, and gets nothing more."""
    monkeypatch.setattr(delivery, "MOST_WAITING", 3)
    answer = threading.Event()

    class Slow(Listed):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            answer.wait(60)
            super().log(step, values)

    tracker = Slow()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "CLOSE_SECONDS", 0.1)
        train(tmp_path, [tracker])
    answer.set()
    assert 1 == caplog.text.count("TRACKER LEFT OUT")
    assert "Slow is too slow: 3 steps wait for it" in caplog.text
    for thread in threading.enumerate():
        if thread.name == "unbroken tracker Slow":
            thread.join(60)
    assert len(tracker.rows) < 5


def test_a_record_that_can_not_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And it stops nothing."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "trackers.json").mkdir()
    tracker = Listed()
    train(tmp_path, [tracker])
    assert STEPS == tracker.rows[-1][0]
    assert "trackers.json can't be written" in caplog.text


def test_a_package_that_is_missing_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything of the training is built."""
    for kind in ("wandb", "mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, kind, None)
        with pytest.raises(unbroken.SettingsInvalid, match=f"python -m pip install {kind}"):
            unbroken.tracker(kind)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: unbroken.tracker("comet"), "Name one of tensorboard, wandb, mlflow, trackio"),
        (lambda: unbroken.tracker("tensorboard", folder="x"), "was given folder"),
        (lambda: tracking.require_trackers("wandb"), "unbroken.tracker"),
        (lambda: tracking.require_trackers([Listed]), "has no begin"),
    ],
)
def test_what_is_no_tracker_is_refused(make: object, words: str) -> None:
    """Unknown names and options, a name instead of a tracker, and a class instead of an object."""
    assert callable(make)
    with pytest.raises(unbroken.SettingsInvalid, match=words):
        make()
