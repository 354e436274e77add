"""An export over an earlier one: nothing of the user goes, and neither does the only copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_trainer import run_program
from unbroken_tts.export.folder import _hidden


def test_what_was_added_to_an_export_stays(whole: Path, tmp_path: Path) -> None:
    """With --force, only what an export wrote is replaced."""
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    (target / "recordings.txt").write_bytes(b"mine")
    ended = run_program("export", whole, target, "--force")
    assert ended.code == 2
    assert "what no export wrote: recordings.txt" in ended.err
    assert b"mine" == (target / "recordings.txt").read_bytes()


def test_an_export_that_was_killed_between_its_renames_comes_back(
    whole: Path, tmp_path: Path
) -> None:
    """The earlier folder, which then has a hidden name only, is kept if the next export fails."""
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    before = (target / "gpt.pth").read_bytes()
    target.rename(tmp_path / ".am.old")
    with pytest.raises(OSError, match="full"), _hidden(target):
        raise OSError("full")
    assert before == (target / "gpt.pth").read_bytes()
