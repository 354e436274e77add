"""A real disk that really fills up under a training: it goes on, and catches up when there is space."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import unbroken
from support.toy_training import Training, build, train
from unbroken.checkpoint.layout import Layout
from unbroken.errors import SaveFailed
from unbroken.journal.journal import read_lines
from unbroken.run.resume import find_source


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 3 MB, where one may be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no filesystem can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test moves on; the pauses between tries take no time."""
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def fill(place: Path, training: Training) -> None:
    """Leave not one free byte, once the save before is on the disk.

    Also the last pages of the files that grow are used up.
    """
    assert training.run._open.saves.saver is not None
    training.run._open.saves.saver.wait()
    with (place / "filler").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def newest(directory: Path) -> int:
    found = find_source(directory, "auto").checkpoint
    return found.position.step if found else -1


def test_training_goes_on_and_catches_up(
    small_disk: Path, clock: Clock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The last good checkpoint stays, each failure is said, and the end is that of a good disk."""
    directory = small_disk / "run"
    training = build(directory, save_every=2, keep=1)

    def at_micro_batch(position: unbroken.Position) -> None:
        clock.now += 4.0
        if position.samples == 0 and position.step == 5:
            fill(small_disk, training)
        if position.samples == 0 and position.step == 60:
            assert 4 == newest(directory)
            (small_disk / "filler").unlink()

    with caplog.at_level(logging.WARNING, "unbroken"):
        train(training, 100, at_micro_batch)
    training.run.close()
    assert 100 == newest(directory)
    assert list(range(1, 101)) == [line["step"] for line in read_lines(Layout(directory).journal)]
    said = [each.message for each in caplog.records]
    assert 2 <= sum(each.startswith("SAVE FAILED") for each in said) <= 8
    assert any("Saving works again" in each for each in said)
    whole = build(tmp_path / "whole", save_every=2, keep=1)
    train(whole, 100)
    whole.run.close()
    ends = [find_source(each, "auto").checkpoint for each in (directory, tmp_path / "whole")]
    assert ends[0]
    assert ends[1]
    assert ends[0].manifest.leaves == ends[1].manifest.leaves


def test_too_much_at_risk_ends_the_run(small_disk: Path, clock: Clock) -> None:
    """After --max-lost-minutes the run ends with exit code 5; what was saved stays."""
    directory = small_disk / "run"
    training = build(directory, save_every=2, keep=1, max_lost_minutes=5)

    def at_micro_batch(position: unbroken.Position) -> None:
        clock.now += 10.0
        if position.samples == 0 and position.step == 5:
            fill(small_disk, training)

    with pytest.raises(SaveFailed, match="minutes") as ended:
        train(training, 100, at_micro_batch)
    assert 5 == ended.value.exit_code
    assert training.run.position.step < 30
    assert 4 == newest(directory)
    (small_disk / "filler").unlink()
    training.run.close()


def test_a_stop_on_a_full_disk_is_saved_once_there_is_space(
    small_disk: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save of a stop is tried again while most of the grace is left, not once."""
    directory = small_disk / "run"
    training = build(directory, save_every=2, keep=1)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now - training.run.stop.since > 20:
            (small_disk / "filler").unlink(missing_ok=True)

    monkeypatch.setattr(time, "sleep", sleep)

    def at_micro_batch(position: unbroken.Position) -> None:
        if position.samples == 0 and position.step == 5:
            fill(small_disk, training)
            training.run.stop.ask("SIGTERM")

    with pytest.raises(unbroken.Stopped, match=r"saved as step-00000005\+2"):
        train(training, 100, at_micro_batch)
    training.run.close()
    assert 5 == newest(directory)


def test_a_stop_on_a_disk_that_stays_full_ends_within_its_grace(
    small_disk: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is said to be lost, the last checkpoint stands, and the process is gone in time."""
    directory = small_disk / "run"
    training = build(directory, save_every=2, keep=1, grace_seconds=60.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", sleep)

    def at_micro_batch(position: unbroken.Position) -> None:
        if position.samples == 0 and position.step == 5:
            fill(small_disk, training)
            training.run.stop.ask("SIGTERM")

    with pytest.raises(
        SaveFailed,
        match=r"free\. A stop was asked for by SIGTERM, and no save succeeded in the \d+ s since",
    ):
        train(training, 100, at_micro_batch)
    assert clock.now - training.run.stop.since < 60
    (small_disk / "filler").unlink()
    assert 4 == newest(directory)
    training.run.close()
