"""One writer: real processes that want the same run, killed ones included."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import unbroken
from support.toy_training import Training, build, data, train
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import Owner, WriterLock, read_owner
from unbroken.errors import DirectoryInUse, OwnerChanged, SaveFailed
from unbroken.journal.journal import read_lines

TESTS = Path(__file__).parents[2]
SOURCE = TESTS.parent / "src"

HOLD = """
import sys
from pathlib import Path
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import WriterLock
WriterLock(Layout(Path(sys.argv[1]))).take()
print("held", flush=True)
sys.stdin.read()
"""

HOLD_WITH_WORKERS = """
import os, sys, time
from pathlib import Path
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import WriterLock
WriterLock(Layout(Path(sys.argv[1]))).take()
workers = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        sys.stdin.read()
        os._exit(0)
    workers.append(pid)
print(*workers, flush=True)
sys.stdin.read()
"""


@contextmanager
def process(code: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a process that holds the run, and the line it printed when it did."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
    )
    assert child.stdin
    assert child.stdout
    try:
        yield child, child.stdout.readline()
    finally:
        child.stdin.close()
        child.stdout.close()
        child.kill()
        child.wait()


def leftovers(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir() if "writer" in each.name)


def test_a_second_process_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    """Exit code 2, and the message names process, host, command and time; nothing changes."""
    with process(HOLD, tmp_path) as (child, _):
        before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
        with pytest.raises(DirectoryInUse) as refused:
            build(tmp_path)
        for word in (f"process {child.pid} on ", "`-c", "since 2"):
            assert word in refused.value.what
        assert 2 == refused.value.exit_code
        after = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
        assert before.keys() == after.keys()
        assert before[".writer.json"] == after[".writer.json"]


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    """After SIGKILL the run is free at once."""
    with process(HOLD, tmp_path) as (child, _):
        child.kill()
        child.wait()
        lock = WriterLock(Layout(tmp_path))
        lock.take()
        lock.release()
    assert [] == leftovers(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_that_outlive_a_killed_training_hold_nothing(tmp_path: Path) -> None:
    """Two forked workers live on, and the next start is not refused."""
    with process(HOLD_WITH_WORKERS, tmp_path) as (child, line):
        workers = [int(word) for word in line.split()]
        assert 2 == len(workers)
        child.kill()
        child.wait()
        for worker in workers:
            os.kill(worker, 0)  # still there
        lock = WriterLock(Layout(tmp_path))
        lock.take()
        lock.release()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def test_the_run_is_given_back(tmp_path: Path) -> None:
    """`close` frees the directory for another process and leaves no file of the lock."""
    training = build(tmp_path)
    train(training, 2)
    assert {".writer.json", ".writer.lock"} < set(leftovers(tmp_path))
    training.run.close()
    assert [] == leftovers(tmp_path)
    with process(HOLD, tmp_path) as (_, line):
        assert "held\n" == line


def test_a_refused_resume_gives_the_run_back(tmp_path: Path) -> None:
    """What failed to start holds nothing."""
    training = build(tmp_path)
    train(training, 3)
    training.run.close()
    with pytest.raises(Exception, match="not the run that was saved"):
        build(tmp_path, seed=8)
    assert [] == leftovers(tmp_path)


def test_within_a_process_a_later_run_takes_over(tmp_path: Path) -> None:
    """As in a notebook: the later one goes on, the earlier one can't save any more."""
    first = build(tmp_path)
    train(first, 3)
    second = build(tmp_path)
    train(second, 4)
    with pytest.raises(OwnerChanged, match=f"process {os.getpid()}"):
        train(first, 6)
    train(second, 6)
    second.run.close()
    first.run.close()
    assert 6 == build(tmp_path).report.position.step


class Clock:
    """A clock that somebody else's life goes on beside."""

    def __init__(self, beats: Path | None = None, until: float = 0.0) -> None:
        self.now = 1000.0
        self.beats, self.until = beats, 1000.0 + until

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.beats is not None and self.now >= self.until:
            with self.beats.open("ab") as file:
                file.write(b".")


def elsewhere(directory: Path) -> Owner:
    """Leave what a writer on another host leaves."""
    layout = Layout(directory)
    owner = replace(Owner.present(), token="f" * 32, host="another-host", boot="another")
    content = {name: getattr(owner, name) for name in owner.__slots__}
    layout.owner_file.write_text(json.dumps(content), encoding="utf-8")
    layout.beat_file(owner.token).write_bytes(b"...")
    return owner


def test_a_dead_writer_of_another_host_is_waited_for(tmp_path: Path) -> None:
    """After 60 s without a sign of life, by the own clock, the run is taken over."""
    owner = elsewhere(tmp_path)
    clock = Clock()
    lock = WriterLock(Layout(tmp_path), clock=clock, sleep=clock.sleep)
    lock.take()
    assert 60.0 == pytest.approx(clock.now - 1000.0)
    found = read_owner(Layout(tmp_path))
    assert found == lock.owner != owner
    assert not Layout(tmp_path).beat_file(owner.token).exists()
    lock.release()


@pytest.mark.parametrize("after", [1.0, 30.0, 59.0])
def test_a_living_writer_of_another_host_keeps_the_run(tmp_path: Path, after: float) -> None:
    """One sign of life within the 60 s, and the run stays the other's."""
    owner = elsewhere(tmp_path)
    clock = Clock(Layout(tmp_path).beat_file(owner.token), until=after)
    lock = WriterLock(Layout(tmp_path), clock=clock, sleep=clock.sleep)
    with pytest.raises(DirectoryInUse, match="another-host"):
        lock.take()
    assert owner == read_owner(Layout(tmp_path))


def test_a_writer_shows_that_it_lives(tmp_path: Path) -> None:
    """The file that others watch grows while the run is held, in the background."""
    lock = WriterLock(Layout(tmp_path), beat_seconds=0.001)
    lock.take()
    assert lock.owner
    beats = Layout(tmp_path).beat_file(lock.owner.token)
    seen = len(beats.read_bytes())
    while len(beats.read_bytes()) <= seen + 2:
        assert lock._beats
        assert lock._beats.is_alive()
    lock.release()


def test_a_commit_that_is_no_longer_ours_is_refused(tmp_path: Path) -> None:
    """Taken over while it slept: the save names the new owner and what is visible stays."""
    training = build(tmp_path, save_every=0)
    train(training, 2)
    before = sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    other = elsewhere(tmp_path)
    with pytest.raises(OwnerChanged, match="another-host") as refused:
        train(training, 4)
    assert 5 == refused.value.exit_code
    assert before == sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    training.run.close()
    assert other == read_owner(Layout(tmp_path))


def test_an_owner_that_is_gone_is_no_owner(tmp_path: Path) -> None:
    """Where nothing says whose the run is, nothing is written to it."""
    lock = WriterLock(Layout(tmp_path))
    lock.take()
    Layout(tmp_path).owner_file.unlink()
    with pytest.raises(SaveFailed, match="missing or damaged"):
        lock.require_ours()
    lock.release()


def test_a_directory_deleted_under_the_run_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on, each save says what is missing, and nothing is made up in its place."""
    directory = tmp_path / "run"
    training = build(directory, save_every=1, grace_seconds=0.0)
    train(training, 1)
    shutil.rmtree(directory)

    def after_step(result: unbroken.StepResult) -> None:
        if result.step == 5:
            training.run.stop.ask("a test")

    with (
        caplog.at_level(logging.WARNING, "unbroken"),
        pytest.raises(SaveFailed, match="missing or damaged"),
    ):
        train(training, 9, after_step=after_step)
    assert 5 == training.run.position.step
    assert "SAVE FAILED" in caplog.text
    assert not directory.exists()
    training.run.close()


def test_a_directory_moved_under_the_run_can_be_moved_back(tmp_path: Path) -> None:
    """Nothing is made in its old place meanwhile; then saves work again and no line is missing."""
    directory = tmp_path / "run"
    training = build(directory, save_every=0)
    train_a_step(training)
    training.run.save()
    directory.rename(tmp_path / "elsewhere")
    train_a_step(training)
    with pytest.raises(SaveFailed, match="missing or damaged"):
        training.run.save()
    training.run.note("validation", step=2)
    assert not directory.exists()
    (tmp_path / "elsewhere").rename(directory)
    assert "step-00000002" == training.run.save().name
    training.run.close()
    steps = [line["step"] for line in read_lines(directory / "journal.jsonl")]
    assert [1, 2] == steps


def train_a_step(training: Training) -> None:
    """Train one step without the save at the end of a run."""
    for step in training.run.steps(99):
        for micro in step.micro_batches(6):
            features = torch.stack([data(index)[0] for index in micro.indices])
            step.backward(training.model(features).sum())
        step.update()
        break
