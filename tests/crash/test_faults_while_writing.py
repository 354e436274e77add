"""A disk that fails at any call of a save: the error is said, the last checkpoint stays, it goes on."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support.recorded_run import Training
from support.sameness import same
from unbroken.errors import SaveFailed
from unbroken.run import resume as resuming
from unbroken.testing.disk_calls import Call, DiskRecord, FaultyDisk, using

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)]
MEGABYTE = 1 << 20


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    """A training that has saved twice."""
    found = Training(tmp_path / "run", keep=1)
    for until in (1, 2):
        found.train(until)
        found.run.save()
    yield found
    found.run.close()


def newest_step(training: Training) -> int:
    """Return the step that a resume would come back with, from a whole checkpoint."""
    target = resuming.find_source(training.run.layout.root, "auto")
    assert target.checkpoint is not None
    assert () == target.notes
    target.checkpoint.parts()
    return target.checkpoint.position.step


def calls_of_a_save(training: Training) -> list[Call]:
    """Return the calls that the next save makes."""
    training.train(training.run.position.step + 1)
    record = DiskRecord(training.run.layout.root)
    with using(record):
        training.run.save()
    return record.calls


def survive(training: Training, at: int, error: int, *, lasting: bool) -> bool:
    """Fail at one call of a save, or from there on; return whether the save said so."""
    run = training.run
    old = run.position.step
    training.train(old + 1)
    faulty = FaultyDisk(lambda _, seen: error if seen == at or (lasting and seen > at) else None)
    said = False
    with using(faulty):
        try:
            run.save()
        except SaveFailed as failed:
            said = os.strerror(error) in str(failed)
    assert faulty.failed
    found = newest_step(training)
    assert found == old + 1 or (said and found == old), f"{found} after {faulty.failed[0]}"
    run.save()
    assert old + 1 == newest_step(training)
    return said


def points(calls: list[Call]) -> Iterator[tuple[int, int, bool]]:
    return itertools.product(range(len(calls)), ERRORS, (False, True))


def test_a_fault_at_any_call_is_survived(training: Training) -> None:
    """Each call of a save fails once, by turns with ENOSPC, EIO, EROFS, EDQUOT, once or for good."""
    calls = calls_of_a_save(training)
    assert len(calls) > 40
    silent = [
        at
        for at in range(len(calls))
        if not survive(training, at, ERRORS[at % len(ERRORS)], lasting=at % 2 == 1)
    ]
    # What fails after `latest` was replaced, as old checkpoints are deleted, the next save repeats.
    committed = max(i for i, each in enumerate(calls) if str(each).endswith("to latest")) + 1
    assert [] == [str(calls[at]) for at in silent if at <= committed]


@pytest.mark.slow
def test_every_fault_at_any_call_is_survived(training: Training) -> None:
    """Each call with each error, for once and for good."""
    for at, error, lasting in points(calls_of_a_save(training)):
        survive(training, at, error, lasting=lasting)


def _fault_at(at: int, _: Call, seen: int) -> int | None:
    return errno.EIO if seen == at else None


def test_a_fault_at_any_call_of_a_replacement_is_survived(training: Training) -> None:
    """Saving the same position again: a checkpoint of it is found whatever call fails."""
    run = training.run
    record = DiskRecord(run.layout.root)
    run.metrics = {"val_loss": 9.0}
    with using(record):
        run.save()
    here = run.position.step
    for at, _ in enumerate(record.calls):
        run.metrics = {"val_loss": float(at)}
        faulty = FaultyDisk(partial(_fault_at, at))
        with using(faulty):
            try:
                run.save()
            except SaveFailed:
                pass
            else:
                assert "replaced" in str(faulty.failed[0])
        assert here == newest_step(training)
    run.metrics = {"val_loss": -1.0}
    run.save()
    left = sorted(each.name for each in run.layout.checkpoints.iterdir())
    assert [f"step-{here:08d}"] == left


def test_a_read_only_remount_is_survived(training: Training) -> None:
    """When every call fails, each try says so; when the disk is back, the run saves and ends equal."""
    reference = Training(training.run.layout.root.parent / "reference")
    reference.train(6)
    with using(FaultyDisk(lambda _, __: errno.EROFS)):
        for again in range(3):
            training.run.metrics = {"again": float(again)}
            with pytest.raises(SaveFailed, match="untouched"):
                training.run.save()
        assert 2 == newest_step(training)
    training.train(6)
    training.run.save()
    assert 6 == newest_step(training)
    assert same(reference.run.state.capture(), training.run.state.capture())
    reference.run.close()


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
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_really_fills_up_keeps_the_last_checkpoint(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes hit the real end of a real filesystem; space comes back, and the next save succeeds."""
    # Without the look at the free space beforehand, so that the writes themselves run into the end.
    monkeypatch.setattr("unbroken.checkpoint.commit._require_space", lambda *_: None)
    training = Training(small_disk / "run", keep=1)
    training.train(1)
    training.run.save()
    for free in (0, 4096, 12_000, 30_000):
        filler = small_disk / "filler"
        room = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(max(0, room - free)))
        training.run.metrics = {"free": float(free)}
        with pytest.raises(SaveFailed, match="No space left"):
            training.run.save()
        assert 1 == newest_step(training)
        filler.unlink()
    training.train(2)
    training.run.save()
    assert 2 == newest_step(training)
    training.run.close()


def test_a_full_disk_is_seen_before_the_first_byte(small_disk: Path) -> None:
    """A save that can't succeed doesn't start: nothing is written beside the old checkpoint."""
    training = Training(small_disk / "run", keep=1)
    training.train(1)
    training.run.save()
    training.train(2)
    room = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(room - MEGABYTE))
    record = DiskRecord(training.run.layout.checkpoints)
    with using(record), pytest.raises(SaveFailed, match="free"):
        training.run.save()
    assert [] == record.calls
    assert 1 == newest_step(training)
    training.run.close()
