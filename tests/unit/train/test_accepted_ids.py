"""--accept: every id that a report prints is taken, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.findings import CHECKS
from unbroken.checks.check import OnAccept
from unbroken.errors import SettingsInvalid, UnbrokenError
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.main import train


def start(tmp_path: Path, *accept: str) -> UnbrokenError:
    """Return the error that a start ends by; there are no data, so that it ends soon."""
    settings = TrainSettings(
        train_manifest=("train.jsonl",),
        val_manifest=("val.jsonl",),
        tokenizer=tmp_path / "t.model",
        output_dir=tmp_path / "out",
        device="cpu",
        accept=accept,
    )
    with pytest.raises(UnbrokenError) as refused:
        train(settings)
    return refused.value


@pytest.mark.parametrize("id_", CHECKS)
def test_every_id_of_a_check_is_known(id_: str, tmp_path: Path) -> None:
    """What a report prints can be typed: the start comes as far as the data."""
    assert "is not the id of a check" not in start(tmp_path, id_, "settings-unchanged").what


def test_an_unknown_id_is_refused_with_the_nearest_and_the_list(tmp_path: Path) -> None:
    """A slip of the finger is met before anything is read: exit 2, and all ids that can be given."""
    refused = start(tmp_path, "setings-unchanged")
    assert isinstance(refused, SettingsInvalid)
    assert 2 == refused.exit_code
    assert "Did you mean settings-unchanged?" in refused.what
    for id_, each in CHECKS.items():
        assert (each.on_accept is not OnAccept.NEVER) == (f" {id_}" in refused.remedy)
    assert not (tmp_path / "out").exists()
