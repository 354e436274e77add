"""The record of a run: a disk that refuses a line ends no training, and no line is lost or torn."""

from __future__ import annotations

import errno
import logging
import os
import time
from pathlib import Path

import pytest

from support.toy_training import build, train
from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.system import Bytes, System
from unbroken.errors import SaveFailed
from unbroken.journal.journal import read_lines
from unbroken.journal.record import RunRecord


class FullDisk(System):
    """Takes a few bytes of each line, or none, until there is space again."""

    def __init__(self, taken: int, *, can_cut: bool = True) -> None:
        self.taken, self.can_cut = taken, can_cut
        self.is_full = True

    def write(self, descriptor: int, data: Bytes) -> int:
        if not self.is_full:
            return super().write(descriptor, data)
        if self.taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, memoryview(data)[: self.taken])

    def truncate(self, descriptor: int, size: int) -> None:
        if self.is_full and not self.can_cut:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(descriptor, size)


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def steps_in(path: Path) -> list[int]:
    return [line["step"] for line in read_lines(path)]


@pytest.mark.parametrize(("taken", "can_cut"), [(0, True), (7, True), (7, False)])
def test_lines_wait_and_are_written_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    taken: int,
    can_cut: bool,
) -> None:
    """Refused, or torn and not even to be cut off: no line is glued to another, none is missing."""
    layout = Layout(tmp_path)
    record = RunRecord(layout)
    record.step({"step": 1})
    full = FullDisk(taken, can_cut=can_cut)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "unbroken"):
        patch.setattr(disk, "system", full)
        for step in range(2, 60):
            clock.now += 1.0
            record.step({"step": step})
        tries = sum("JOURNAL NOT WRITTEN" in each.message for each in caplog.records)
        assert 3 == tries  # after 0, 15 and 45 s
        full.is_full = False
        clock.now += 600.0
        record.step({"step": 60})
    assert list(range(1, 61)) == steps_in(layout.journal)
    assert "can be written again" in caplog.text
    record.close()
    assert 0 == RunRecord(layout).start - 1


def test_lines_that_wait_too_long_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """More minutes than may be lost: exit code 5; when there is space again, they are written."""
    record = RunRecord(Layout(tmp_path), max_lost_minutes=10)
    full = FullDisk(0)
    monkeypatch.setattr(disk, "system", full)
    record.step({"step": 1})
    clock.now += 601.0
    with pytest.raises(SaveFailed, match="2 lines have waited 10 minutes") as ended:
        record.step({"step": 2})
    assert 5 == ended.value.exit_code
    full.is_full = False
    record.close()
    assert [1, 2] == steps_in(Layout(tmp_path).journal)


def test_closing_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that can't be written at the end are an error, not silence."""
    record = RunRecord(Layout(tmp_path))
    monkeypatch.setattr(disk, "system", FullDisk(0))
    record.step({"step": 1})
    with pytest.raises(SaveFailed):
        record.close()


def test_a_note_that_cant_be_written_is_only_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The history is no reason to stop; but a start that can't be noted doesn't begin."""
    record = RunRecord(Layout(tmp_path))
    monkeypatch.setattr(disk, "system", FullDisk(0))
    with caplog.at_level(logging.WARNING, "unbroken"):
        record.note("stop", reason="SIGTERM")
    assert "history.jsonl" in caplog.text
    with pytest.raises(SaveFailed):
        record.begin(step=0)


def test_a_training_goes_on_while_its_journal_cant_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, weights and, in the end, every line are those of a run on a good disk."""
    good = build(tmp_path / "good", save_every=0)
    train(good, 8)
    good.run.close()
    bad = build(tmp_path / "bad", save_every=0)
    train(bad, 2)
    full = FullDisk(3)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "system", full)
        monkeypatch.setattr(bad.run, "save", lambda **_: tmp_path)  # the saves have their own tests
        train(bad, 8)
        full.is_full = False
        bad.run.close()
    lines = [
        [line | {"start": 0} for line in read_lines(Layout(tmp_path / name).journal)]
        for name in ("good", "bad")
    ]
    assert lines[0] == lines[1]
    assert 8 == len(lines[1])


def test_a_save_in_between_does_not_put_the_next_try_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Each save brings the journal to the device first; on a full disk that is one more refusal."""
    full = FullDisk(0)
    record = RunRecord(Layout(tmp_path))
    monkeypatch.setattr(disk, "system", full)
    record.step({"step": 1})
    for _ in range(14):
        clock.now += 1
        record.sync()
    full.is_full = False
    clock.now += 1
    record.step({"step": 2})
    assert [1, 2] == steps_in(tmp_path / "journal.jsonl")
    record.close()
