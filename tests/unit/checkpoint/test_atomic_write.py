"""A file that is replaced as a whole, by whatever writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken import atomic_write
from unbroken.checkpoint import disk
from unbroken.testing.disk_calls import recorded


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """Until the block ends the old one stands; afterwards nothing else is there."""
    place = tmp_path / "new" / "file"
    for content in ("first", "second"):
        with atomic_write(place) as aside:
            aside.write_text(content, encoding="utf-8")
            assert (content == "second") == place.exists()
        assert content == place.read_text(encoding="utf-8")
    assert [place] == list(place.parent.iterdir())


def test_a_block_that_fails_leaves_the_old(tmp_path: Path) -> None:
    """The error goes on, the half-written file is gone."""
    place = tmp_path / "file"
    place.write_text("old", encoding="utf-8")

    def write_half(aside: Path) -> None:
        aside.write_text("half", encoding="utf-8")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), atomic_write(place) as aside:
        write_half(aside)
    assert "old" == place.read_text(encoding="utf-8")
    assert [place] == list(tmp_path.iterdir())


def test_its_bytes_are_on_the_device_before_its_name(tmp_path: Path) -> None:
    """Flushed, renamed, and the directory flushed; in this order."""
    with recorded(tmp_path) as record, atomic_write(tmp_path / "file") as aside:
        aside.write_text("content", encoding="utf-8")
    kinds = [call.kind for call in record.calls if call.kind != "open"]
    assert ["sync", "rename", "sync directory"] == kinds


def test_nothing_is_flushed_where_that_is_not_wanted(tmp_path: Path) -> None:
    """`durable=False` only renames."""
    place = tmp_path / "file"
    with recorded(tmp_path) as record, atomic_write(place, durable=False) as aside:
        aside.write_text("content", encoding="utf-8")
    assert ["rename"] == [call.kind for call in record.calls]


def test_what_another_program_wrote_is_made_durable(tmp_path: Path) -> None:
    """`sync_file` flushes the bytes of a file, and changes nothing of it."""
    place = tmp_path / "file"
    place.write_text("content", encoding="utf-8")
    with recorded(tmp_path) as record:
        disk.sync_file(place)
    assert ["sync"] == [call.kind for call in record.calls if call.kind != "open"]
    assert "content" == place.read_text(encoding="utf-8")
