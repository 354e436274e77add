"""The journal: whole lines that survive, torn ones that don't, numbers that come back."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.errors import SaveFailed
from unbroken.journal.journal import Journal, last_line_of_each_step, read_lines


def write(path: Path, *lines: dict[str, Any]) -> None:
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    journal.close()


def test_lines_are_there_before_the_file_is_closed(tmp_path: Path) -> None:
    """A line is in the system's hands when `append` returns: the death of the process takes none."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"step": 1})
    assert b'{"step": 1}\n' == path.read_bytes()
    journal.close()
    journal.close()


@settings(max_examples=60, deadline=None)
@given(st.floats())
def test_numbers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    """Finite numbers are the shortest that read back the same; others are strings."""
    path = tmp_path_factory.getbasetemp() / "numbers.jsonl"
    path.unlink(missing_ok=True)
    write(path, {"step": 1, "loss": value, "each": [value], "deep": {"x": (value,)}})
    found = next(read_lines(path))
    assert found["each"] == found["deep"]["x"] == [found["loss"]]
    if math.isfinite(value):
        assert f'"loss": {value!r},' in path.read_text(encoding="utf-8")
        assert math.copysign(1, value) == math.copysign(1, found["loss"])
        assert value == found["loss"]
    else:
        assert repr(value) == found["loss"]


@pytest.mark.parametrize("tail", [b"{", b'{"step": 3, "lo', b"\x00" * 100_000, b'{"step": 3}'])
def test_a_torn_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    """What follows the last newline is cut off on opening, counted, and the next line is whole."""
    path = tmp_path / "journal.jsonl"
    write(path, {"step": 1}, {"step": 2})
    with path.open("ab") as file:
        file.write(tail)
    assert [1, 2] == [line["step"] for line in read_lines(path)]
    journal = Journal(path)
    assert len(tail) == journal.torn_bytes
    journal.append({"step": 3})
    journal.close()
    assert [1, 2, 3] == [line["step"] for line in read_lines(path)]


@pytest.mark.parametrize("content", [b"", b"only a torn line", b"\x00" * 200_000])
def test_a_file_without_a_whole_line_becomes_empty(tmp_path: Path, content: bytes) -> None:
    """Where no line is whole, none is left."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    journal = Journal(path)
    journal.close()
    assert len(content) == journal.torn_bytes
    assert b"" == path.read_bytes()


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    """A line of other bytes takes none of its neighbours with it."""
    path = tmp_path / "journal.jsonl"
    middle = [b"\x00\x00\x00", b"[1]", b"\xff\xfe", b"3", b"[" * 100_000, b"", b'{"step": "2"}']
    path.write_bytes(b"\n".join([b'{"step": 1}', *middle, b'{"step": 3}', b'{"step": 4']))
    assert {1: {"step": 1}, 3: {"step": 3}} == last_line_of_each_step(path)


def test_the_last_line_of_a_step_counts(tmp_path: Path) -> None:
    """A repeated step adds a line, and the newest is the one that is read."""
    path = tmp_path / "journal.jsonl"
    write(path, *({"step": n, "start": 1} for n in (1, 2, 3)))
    write(path, *({"step": n, "start": 2} for n in (2, 3, 4)))
    found = last_line_of_each_step(path)
    assert {1: 1, 2: 2, 3: 2, 4: 2} == {step: line["start"] for step, line in found.items()}
    assert 6 == len(list(read_lines(path)))


def test_no_journal_has_no_lines(tmp_path: Path) -> None:
    """A run that never began has an empty record."""
    assert [] == list(read_lines(tmp_path / "none"))
    assert {} == last_line_of_each_step(tmp_path)


def test_text_of_any_language_is_kept(tmp_path: Path) -> None:
    """Names stand as they are written, half a surrogate pair as an escape."""
    path = tmp_path / "journal.jsonl"
    write(path, {"step": 1, "id": "ሰላም"}, {"step": 2, "odd": "\ud800"})
    text = path.read_text(encoding="utf-8")
    assert '{"step": 1, "id": "ሰላም"}\n{"step": 2, "odd": "\\ud800"}\n' == text
    assert ["ሰላም", "\ud800"] == [line.get("id", line.get("odd")) for line in read_lines(path)]


def test_a_line_that_was_not_written_whole_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk takes only half a line, the journal ends with the line before, and says so."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"step": 1})
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:5]))
    with pytest.raises(SaveFailed, match="journal"):
        journal.append({"step": 2})
    monkeypatch.undo()
    journal.append({"step": 3})
    journal.close()
    assert [1, 3] == [line["step"] for line in read_lines(path)]
