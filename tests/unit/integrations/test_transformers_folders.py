"""Folders of a trainer: whole or not there, verified, and deleted without a half."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken import CheckpointCorrupt, SaveFailed
from unbroken.checkpoint import disk
from unbroken.checkpoint.system import System
from unbroken.integrations.listed_folder import LIST
from unbroken.integrations.transformers.folders import TrainerFolders, require_whole
from unbroken.testing.disk_calls import recorded


def write(folders: TrainerFolders, step: int, content: str = "weights") -> Path:
    name = f"checkpoint-{step}"
    with folders.saving(name) as aside:
        aside.mkdir()
        (aside / "inner").mkdir()
        (aside / "model").write_text(content, encoding="utf-8")
        (aside / "inner" / "config").write_text("{}", encoding="utf-8")
    return folders.root / name


def test_it_appears_when_it_is_durable(tmp_path: Path) -> None:
    """Each file is flushed before the list is written, and the rename comes last."""
    with recorded(tmp_path) as record:
        place = write(TrainerFolders(tmp_path), 3)
    kinds = [each.kind for each in record.calls if each.kind in ("sync", "rename")]
    assert ["sync", "sync", "sync", "rename"] == kinds
    assert {"model", "inner", LIST} == {each.name for each in place.iterdir()}
    require_whole(place)


def test_a_folder_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    """Whatever ends the writing, only hidden files are left, and the next start deletes them."""
    folders = TrainerFolders(tmp_path)
    (tmp_path / "checkpoint-3").mkdir()

    def interrupted() -> None:
        with folders.saving("checkpoint-6") as aside:
            aside.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {".unbroken", "checkpoint-3"} == {each.name for each in tmp_path.iterdir()}
    folders.sweep()
    assert ["checkpoint-3"] == [each.name for each in tmp_path.iterdir()]


def test_a_disk_that_refuses_leaves_the_older_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so; nothing half is visible."""

    class Full(System):
        def sync(self, descriptor: int) -> None:
            raise OSError(28, "No space left on device", str(descriptor))

    folders = TrainerFolders(tmp_path)
    older = write(folders, 3)
    monkeypatch.setattr(disk, "system", Full())
    with pytest.raises(SaveFailed, match="No space left"):
        write(folders, 3, "other")
    assert "weights" == (older / "model").read_text(encoding="utf-8")
    require_whole(older)


def test_changed_bytes_are_found(tmp_path: Path) -> None:
    """By the name of the file, before the model in it is loaded."""
    place = write(TrainerFolders(tmp_path), 3)
    (place / "model").write_text("weighty", encoding="utf-8")
    with pytest.raises(CheckpointCorrupt, match="model are not the ones that were saved"):
        require_whole(place)


def test_a_folder_that_lost_a_file_is_deleted_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told; folders of others, which have no list, stay."""
    folders = TrainerFolders(tmp_path)
    for step in (3, 6):
        write(folders, step)
    (tmp_path / "checkpoint-6" / "model").unlink()
    (tmp_path / "checkpoint-9").mkdir()
    folders.sweep()
    assert "checkpoint-6 is not whole" in caplog.text
    assert {"checkpoint-3", "checkpoint-9"} == {e.name for e in tmp_path.glob("checkpoint-*")}


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [2, 4, 6, 10]),
        (0, None, [2, 4, 6, 10]),
        (2, None, [6, 10]),
        (1, None, [10]),
        (1, 4, [4, 10]),
        (3, 2, [2, 6, 10]),
    ],
)
def test_as_many_stay_as_the_trainer_says(
    tmp_path: Path, limit: int | None, best: int | None, left: list[int]
) -> None:
    """The newest by number and the best always do."""
    folders = TrainerFolders(tmp_path)
    for step in (2, 4, 6, 10):
        write(folders, step)
    folders.keep(limit, None if best is None else str(tmp_path / f"checkpoint-{best}"))
    found = (int(each.name.rpartition("-")[2]) for each in tmp_path.glob("checkpoint-*"))
    assert left == sorted(found)
