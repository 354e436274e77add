"""A rescue that ended before its checkpoint was saved never becomes a training from step 0."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from support.old_run import OldRuns
from support.tiny_trainer import asked_to_stop, newest
from unbroken import Run
from unbroken_tts.train.old_run import UNFINISHED


def test_an_unfinished_rescue_is_repeated_not_begun_anew(old_runs: OldRuns, tmp_path: Path) -> None:
    """`train --resume auto` in its directory names the command; that command takes the run over."""
    old = old_runs.write(tmp_path / "old/latest.pth").parent
    new = tmp_path / "new"
    words = ("--output-dir", new, "--batch-size", 4, "--grad-accumulation", 3)
    with patch.object(Run, "save", side_effect=OSError("the disk went away")):
        assert old_runs.start("rescue", old, *words).code != 0
    assert (new / UNFINISHED).is_file()
    ended = old_runs.start("train", *words, "--resume", "auto")
    assert ended.code == 3, ended.out
    assert f"unbroken-tts rescue {old.resolve()} --output-dir {new}" in ended.err
    with asked_to_stop(25):
        assert old_runs.start("rescue", old, *words).code == 75
    assert newest(new).position.step == 25
    assert not (new / UNFINISHED).exists()


def test_samples_of_an_epoch_without_a_mix_are_not_counted_in_one_with(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """Said before anything is read."""
    old = old_runs.write(tmp_path / "old/latest.pth").parent
    ended = old_runs.start("rescue", old, "--mix", "am=1", "--rescue-position", "count")
    assert ended.code == 2
    assert "--mix am=1 and --rescue-position count" in ended.err
