"""A power cut at every call of several saves, with everything lost that could be lost.

The training of `support.recorded_run` saves six times, some saves with nine files: the first one,
one inside a step, one with a deletion by retention (of the only other checkpoint), one of the same
position again, one that is set aside by resuming from an older one, and one after that.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.recorded_run import Reader, RecordedRun, complaints, record_run

MEMORY = Path("/dev/shm")  # noqa: S108  # states are shown in memory where that is possible

WITHOUT_EFFECT = {
    # History is read by people; no promise stands on its last line.
    "sync history.jsonl",
    # Another fsync of the same directory follows before anything stands on it: the journal's
    # birth after that of run.json, the journal's after that of history.jsonl, `latest` after both.
    "sync directory run",
    # Nothing was added since the fsync before: closing, or saving the same position again.
    "sync journal.jsonl",
    # The next rename takes the name that the first one freed; it is followed by its own fsync.
    "sync directory checkpoints",
}
"""Calls of which some stand where another one makes them unnecessary."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    """The record of a whole training."""
    return record_run(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def reading(recording: RecordedRun) -> Iterator[Reader]:
    """A reader of crash states, in memory if that can be had."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Reader(recording, Path(directory))


@pytest.fixture
def reader(reading: Reader, recording: RecordedRun) -> Reader:
    """The same, of the whole record; what lay on the disk in another test is not read again."""
    reading.recording = recording
    reading.enumerated = reading.read = 0
    return reading


def require_none(reader: Reader, capsys: pytest.CaptureFixture[str], **how: int) -> None:
    """Read all states, print how many, and fail with the first few complaints."""
    wrong = []
    for each in complaints(reader, **how):
        wrong.append(each)
        if len(wrong) == 5:
            break
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(reader.recording.calls)} calls, {reader.enumerated} crash states, "
            f"{reader.read} of them different and read: {len(wrong)} wrong\n"
        )
    assert [] == wrong


def test_every_save_has_six_files_or_more(recording: RecordedRun) -> None:
    """The record is worth its name: six saves of seven files and more, and a deletion."""
    manifests = [c for c in recording.calls if c.kind == "create" and c.path.stem == "manifest"]
    assert 6 == len(manifests)
    for each in manifests:
        files = {c.path for c in recording.calls if c.kind == "create"}
        assert 7 <= sum(file.parent == each.path.parent for file in files)
    texts = [str(each) for each in recording.calls]
    assert any("gradients.safetensors" in each for each in texts)
    assert any(each.startswith("rename") and each.endswith(".deleted") for each in texts)
    assert any(each.startswith("rename") and each.endswith("latest") for each in texts)


def test_the_old_or_the_new_checkpoint_is_found(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """After every call, with each single loss and a sample of larger ones: old or new, bit for bit.

    Once a save has returned it is the new one; no damaged checkpoint is ever visible; `latest` is
    never torn; the journal knows every step of what is found.
    """
    require_none(reader, capsys, most_losses=1, larger=1)


@pytest.mark.slow
def test_the_old_or_the_new_checkpoint_is_found_in_every_state(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with all combinations of two losses and 2,000 larger ones at every call."""
    require_none(reader, capsys, most_losses=2, larger=2000)


def syncs(recording: RecordedRun) -> Iterator[tuple[str, int]]:
    """Yield every fsync of a record by what it is for, with its place."""
    for index, call in enumerate(recording.calls):
        if call.kind in ("sync", "sync directory"):
            aside = "aside/" if call.path.parent.name.startswith(".step") else ""
            name = "aside" if call.path.name.startswith(".step") else call.path.name or "parent"
            name = "latest" if name.startswith(".latest") else name
            name = "run.json" if name.startswith(".run.json") else name
            name = "start.json" if name.startswith(".start.json") else name
            yield f"{call.kind} {aside}{name}", index


def without(recording: RecordedRun, index: int) -> RecordedRun:
    """Return a record in which one call was not made."""
    return replace(recording, calls=recording.calls[:index] + recording.calls[index + 1 :])


def is_noticed(reader: Reader, recording: RecordedRun, index: int, *, losses: int) -> bool:
    """Say whether some crash goes wrong, soon after, when one call was not made."""
    calls = recording.calls
    telling = [i for i in range(index, len(calls)) if calls[i].kind in ("rename", "mark")]
    marks = [i for i in telling if calls[i].kind == "mark"]
    between = (telling[0], marks[:2][-1] + 1) if telling else (index, len(calls) - 1)
    reader.recording = without(recording, index)
    return next(complaints(reader, most_losses=losses, larger=0, between=between), None) is not None


def test_no_fsync_can_be_left_out(recording: RecordedRun, reader: Reader) -> None:
    """The test of the test: each kind of fsync, taken out once, makes a crash go wrong.

    Without a durable history or start.json a run goes on; only less can be told of it.
    """
    unnoticed = {name for name, _ in syncs(recording)}
    for name, index in reversed(list(syncs(recording))):
        if name in unnoticed and is_noticed(reader, recording, index, losses=1):
            unnoticed.discard(name)
    assert {"sync history.jsonl", "sync start.json"} == unnoticed


@pytest.mark.slow
def test_no_single_fsync_can_be_left_out(recording: RecordedRun, reader: Reader) -> None:
    """Each single fsync is needed, but for those whose work another one does."""
    unnoticed = [
        name
        for name, index in syncs(recording)
        if not is_noticed(reader, recording, index, losses=2)
    ]
    assert set() == set(unnoticed) - WITHOUT_EFFECT
