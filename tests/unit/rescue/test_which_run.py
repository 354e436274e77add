"""Old files and a run of ours in one directory: ours goes on, unless the old one has trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from support.old_run import Content, OldRuns
from support.tiny_trainer import asked_to_stop, journal, newest
from unbroken import Run
from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy


@pytest.fixture(scope="module")
def taken(old_runs: OldRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an old directory whose run was taken over and trained to step 26."""
    place = tmp_path_factory.mktemp("taken")
    old_runs.write(place / "latest.pth")
    with asked_to_stop(26):
        assert old_runs.start("rescue", place).code == 75
    return place


@pytest.fixture
def copied(taken: Path, tmp_path: Path) -> Path:
    """Return a copy of it; all its files are of now."""
    return Path(shutil.copytree(taken, tmp_path / "copy"))


def _later(content: Content) -> None:
    content.update(step=32, epoch=3, batch_idx=15)
    rate = 2e-3 * warmup_cosine_legacy(4, 38)(32)
    content["scheduler"].update(last_epoch=32, _last_lr=[rate])


@pytest.mark.parametrize("command", ["train", "rescue"])
def test_ours_goes_on(old_runs: OldRuns, copied: Path, command: str) -> None:
    """The same command again continues at step 27, whatever the times of the files."""
    words = [copied] if command == "rescue" else ["--output-dir", copied, "--resume", "auto"]
    with asked_to_stop(27):
        ended = old_runs.start(command, *words)
    assert ended.code == 75, ended.err
    assert "Taken over" not in ended.out
    assert "step 26" in ended.out
    assert not (copied / "earlier").exists()


def test_a_newer_old_file_is_told_and_left_to_choose(old_runs: OldRuns, copied: Path) -> None:
    """Both are named with their steps and a command; nothing is changed."""
    old_runs.write(copied / "model_step32.pth", _later)
    flags = ("--output-dir", copied)
    ended = old_runs.start("train", *flags, "--resume", "auto")
    assert ended.code == 3, ended.err
    assert "model_step32.pth, which is newer: step 32" in ended.err
    assert "--resume latest" in ended.err
    with asked_to_stop(27):
        ended = old_runs.start("train", *flags, "--resume", "latest")
    assert ended.code == 75, ended.err
    other = copied.parent / "other"
    with asked_to_stop(32):
        ended = old_runs.start("rescue", copied / "model_step32.pth", "--output-dir", other)
    assert ended.code == 75, ended.err
    assert newest(other).position.step == 32


def test_a_rescue_that_was_killed_before_its_checkpoint_is_made_again(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """The run without a step never begins at step 0; it is moved away and made anew."""
    old_runs.write(tmp_path / "latest.pth")
    with patch.object(Run, "save", side_effect=KeyboardInterrupt):
        assert old_runs.start("rescue", tmp_path).code == 130
    assert (tmp_path / "run.json").exists()
    with asked_to_stop(26):
        ended = old_runs.start("train", "--output-dir", tmp_path, "--resume", "auto")
    assert ended.code == 75, ended.err
    assert min(journal(tmp_path)) == 25


def test_two_runs_are_not_mixed(old_runs: OldRuns, taken: Path, tmp_path: Path) -> None:
    """A directory that holds the run of other old files is refused."""
    old_runs.write(tmp_path / "latest.pth")
    ended = old_runs.start("rescue", tmp_path, "--output-dir", taken)
    assert ended.code == 2, ended.err
    assert f"{taken} holds a run that was not taken over from {tmp_path}" in ended.err
