from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbroken.errors import DataInvalid
from unbroken_tts.prepare.sources import read_source


def test_ljspeech_csv(tmp_path: Path) -> None:
    """Two to five fields; the normalised text is preferred; recordings lie in wavs/."""
    (tmp_path / "metadata.csv").write_text(
        'a|"One" text\nb|Two 2|Two two\n\nc|Three||anna|EN\n', encoding="utf-8"
    )
    source = read_source(tmp_path, language="am")
    assert [
        ("a", '"One" text', "speaker", "am"),
        ("b", "Two two", "speaker", "am"),
        ("c", "Three", "anna", "en"),
    ] == [(one.id, one.text, one.speaker, one.language) for one in source.utterances]
    assert tmp_path / "wavs" / "a.wav" == source.utterances[0].audio


def test_csv_with_named_columns(tmp_path: Path) -> None:
    """A first line with names decides the order; other audio formats are found."""
    (tmp_path / "metadata.csv").write_text(
        "id|speaker|text|audio\r\na|bo|Text|other/x.ogg\r\nb|bo|Text|\r\n", encoding="utf-8"
    )
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "b.flac").touch()
    one, two = read_source(tmp_path, language="am").utterances
    assert (tmp_path / "other" / "x.ogg", "bo") == (one.audio, one.speaker)
    assert tmp_path / "wavs" / "b.flac" == two.audio


def test_json_lines(tmp_path: Path) -> None:
    """Both audio names work, an id is optional, a byte order mark is no fault."""
    rows = [
        {"id": "a", "audio": "x/a.wav", "text": "T", "speaker": "s", "language": "AM"},
        {"audio_path": "y/b.wav", "text": "T"},
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    one, two = read_source(path, language="om").utterances
    assert ("a", "b", "am", "om") == (one.id, two.id, one.language, two.language)
    assert f"{path}:3" == two.where
    elsewhere = read_source(path, language="om", audio_dir=tmp_path / "z").utterances
    assert tmp_path / "z" / "x" / "a.wav" == elsewhere[0].audio


@pytest.mark.parametrize(
    "name", ["a/b", "a\\b", "..", "con", "LPT1.x", "a:b", "x.", ".hidden.", "a\tb", "ሀ" * 70]
)
def test_unsafe_ids_are_faults(tmp_path: Path, name: str) -> None:
    """An id that is no file name on every system is told with its line."""
    rows = [{"id": "good", "text": "T", "audio": "a.wav"}, {"id": name, "text": "T"}]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = read_source(path, language="am")
    assert ["good"] == [one.id for one in source.utterances]
    assert f"{path}:2" == source.faults[0].where
    assert "id" in source.faults[0].what


def test_all_bad_lines_are_told_at_once(tmp_path: Path) -> None:
    """Broken JSON, missing texts, repeated ids and ids that differ in case are all found."""
    path = tmp_path / "list.jsonl"
    lines = ['{"id": "a", "text": "T"}', "{", "[]", '{"id": "b"}', '{"text": "T"}']
    lines += ['{"id": "A", "text": "T"}', '{"id": "a", "text": "T"}']
    path.write_text("\n".join(lines), encoding="utf-8")
    source = read_source(path, language="am")
    assert 1 == len(source.utterances)
    assert [2, 3, 4, 5, 6, 7] == [int(one.where.rsplit(":", 1)[1]) for one in source.faults]


def test_missing_and_empty_lists_are_refused(tmp_path: Path) -> None:
    """No list, an empty one and one that is no text are three clear errors."""
    with pytest.raises(DataInvalid, match="doesn't exist"):
        read_source(tmp_path / "nowhere", language="am")
    with pytest.raises(DataInvalid, match=r"has none of metadata\.jsonl, metadata\.csv"):
        read_source(tmp_path, language="am")
    path = tmp_path / "list.jsonl"
    path.write_bytes(b"\n\n")
    with pytest.raises(DataInvalid, match="is empty"):
        read_source(path, language="am")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataInvalid, match="can't be read"):
        read_source(path, language="am")
