"""The place a command writes to: what stands there is kept, what can't be written is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unbroken.errors import SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.cli.target import require_free, writing
from unbroken_tts.prepare.audio import write_audio


def test_what_stands_there_is_kept(tmp_path: Path) -> None:
    """A file needs --force; a directory is never replaced; nothing there is free."""
    (tmp_path / "file").touch()
    require_free(tmp_path / "free", is_forced=False)
    require_free(tmp_path / "file", is_forced=True)
    for name, is_forced in (("file", False), ("", True)):
        with pytest.raises(SettingsInvalid, match="exists"):
            require_free(tmp_path / name, is_forced=is_forced)


def test_sound_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A file in the way of the directory, and a directory in the way of the file."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "file/out.wav", tmp_path):
        with pytest.raises(SettingsInvalid, match="can't be written"), writing(place):
            write_audio(place, np.zeros(8, np.float32), 16_000)


def test_an_example_below_a_file_is_a_mistake_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and three sentences."""
    (tmp_path / "file").touch()
    assert 2 == main(["example", "--directory", str(tmp_path / "file/below")])
    assert 3 == len(capsys.readouterr().err.splitlines())
