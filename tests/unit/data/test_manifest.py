from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pairs import write_pairs
from unbroken.errors import SettingsInvalid
from unbroken_tts.data.faults import FaultKind, FaultsFound
from unbroken_tts.data.manifest import load_pairs, parse_argument


def line(**changes: Any) -> dict[str, Any]:
    """Return a valid paired line with some fields replaced, or left out where None."""
    fields = {
        "id": "a__b",
        "target_text_ids_path": "text_ids/a.npy",
        "target_text_len": 3,
        "target_codes_path": "codes/a.npy",
        "target_code_len": 5,
        "prompt_condition_path": "condition/b.npy",
        "prompt_emo_vec_path": "emo_vec/b.npy",
        "target_emo_vec_path": "emo_vec/a.npy",
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def write(path: Path, *lines: dict[str, Any] | str | bytes) -> str:
    """Write a manifest from objects and raw lines; return its path as an argument."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b""
    for entry in lines:
        raw = json.dumps(entry) if isinstance(entry, dict) else entry
        content += (raw if isinstance(raw, bytes) else raw.encode()) + b"\n"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("argument", "path", "language"),
    [
        ("x.jsonl", "x.jsonl", ""),
        ("x.jsonl::am", "x.jsonl", "am"),
        ("x.jsonl::AM", "x.jsonl", "am"),
        ("x.jsonl::zh-Hant", "x.jsonl", "zh-hant"),
        (r"C:\data\x.jsonl", r"C:\data\x.jsonl", ""),
        (r"C:\data\x.jsonl::am", r"C:\data\x.jsonl", "am"),
        ("data/lang=am/x.jsonl", "data/lang=am/x.jsonl", ""),
        ("me@host/x.jsonl::en", "me@host/x.jsonl", "en"),
        ("a::b/x.jsonl", "a::b/x.jsonl", ""),
        ("x.jsonl::$DATA", "x.jsonl::$DATA", ""),
        ("x.jsonl::", "x.jsonl::", ""),
        ("::am", "::am", ""),
    ],
)
def test_only_a_language_suffix_is_split_off(argument: str, path: str, language: str) -> None:
    """`::lang` at the end is a language; drives, `=`, `@` and other colons belong to the path."""
    assert (path, language) == parse_argument(argument)


def test_an_existing_file_is_taken_whole(tmp_path: Path) -> None:
    """A file whose very name ends like a language suffix is that file."""
    argument = write(tmp_path / "x::am", line())
    assert (argument, "") == parse_argument(argument)
    assert ("a__b",) == load_pairs([argument]).ids


def test_paths_start_at_the_manifest_and_emotion_falls_back(tmp_path: Path) -> None:
    """Relative paths are the manifest's, absolute ones stay, empty prompt emotion falls back."""
    absolute = str(tmp_path / "elsewhere.npy")
    argument = write(
        tmp_path / "lang=am" / "x.jsonl",
        line(id="1", prompt_emo_vec_path=""),
        "",
        line(id="2", target_codes_path=absolute, target_language="EN", speaker="s"),
        "   ",
        line(id="3", prompt_emo_vec_path=None, language="Fr", target_id="t", prompt_id="p"),
    )
    pairs = load_pairs([argument + "::AM"])
    base = tmp_path / "lang=am"
    assert ("1", "2", "3") == pairs.ids
    assert [1, 3, 5] == pairs.line_numbers.tolist()
    assert (str(base / "emo_vec" / "a.npy"),) * 3 == (
        pairs.emo_paths[0],
        str(base / "emo_vec" / "a.npy"),
        pairs.emo_paths[2],
    )
    assert str(base / "emo_vec" / "b.npy") == pairs.emo_paths[1]
    assert absolute == pairs.code_paths[1]
    assert ("am", "en", "fr") == pairs.languages
    assert ("1", "2", "t") == pairs.target_ids
    assert ("", "", "p") == pairs.prompt_ids
    assert f"{base / 'x.jsonl'}:5" == pairs.where(2)


def test_manifests_are_joined_in_order(tmp_path: Path) -> None:
    """Several manifests make one set of columns; each sample knows where it came from."""
    first = write_pairs(tmp_path / "a", 3, split="a")
    second = write_pairs(tmp_path / "b", 2, split="b")
    pairs = load_pairs([str(first), f"{second}::am"])
    assert [0, 0, 0, 1, 1] == pairs.manifest_numbers.tolist()
    assert (str(first), str(second)) == pairs.manifests
    chosen = pairs.select([4, 0])
    assert (pairs.ids[4], pairs.ids[0]) == chosen.ids
    assert [pairs.where(4), pairs.where(0)] == [chosen.where(0), chosen.where(1)]
    assert pairs.code_lengths[[4, 0]].tolist() == chosen.code_lengths.tolist()


def test_every_malformed_line_is_reported_at_once(tmp_path: Path) -> None:
    """All bad lines of all manifests come in one error, each with file, line and reason."""
    bad: list[tuple[Any, str]] = [
        ("{", "not JSON"),
        (b'{"id": "\xff"}', "not UTF-8"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(line()).replace("3", "9" * 5000, 1), "not JSON"),
        (line(id=""), "`id` must be a non-empty string, but is '' instead"),
        (line(id=7), "but is 7 instead"),
        (line(id="a\nb"), "a character that isn't allowed"),
        (line(id="\ud800"), "a character that isn't allowed"),
        (line(target_codes_path="a\0b"), "a character that isn't allowed"),
        (line(target_text_len=None), "`target_text_len` must be a whole number"),
        (line(target_text_len=-1), "but is -1 instead"),
        (line(target_code_len=3.0), "but is 3.0 instead"),
        (line(target_code_len="3"), "but is '3' instead"),
        (line(target_code_len=10**300), "but is 1e+300 instead"),
        (line(target_text_ids_path=None), "but is missing instead"),
        (line(prompt_emo_vec_path=None, target_emo_vec_path=None), "but is missing instead"),
    ]
    first = write(tmp_path / "a.jsonl", line(), *(entry for entry, _ in bad))
    second = write(tmp_path / "b.jsonl", line(), "nonsense")
    with pytest.raises(FaultsFound, match="2 manifests") as caught:
        load_pairs([first, second])
    faults = caught.value.faults
    expected = [(first, number) for number in range(2, len(bad) + 2)] + [(second, 2)]
    assert expected == [(fault.manifest, fault.line) for fault in faults]
    assert {FaultKind.MALFORMED_LINE} == {fault.kind for fault in faults}
    for (_, reason), fault in zip(bad, faults, strict=False):
        assert reason in fault.detail
    assert f"{first}:2: malformed line" in str(caught.value)


def test_unpaired_and_mixed_manifests_are_refused(tmp_path: Path) -> None:
    """A line without prompt or codes can't train, and no line is skipped in silence."""
    argument = write(
        tmp_path / "x.jsonl", line(), line(target_codes_path=None, prompt_condition_path=None)
    )
    with pytest.raises(FaultsFound, match="unbroken-tts prepare") as caught:
        load_pairs([argument])
    (fault,) = caught.value.faults
    assert (2, FaultKind.UNPAIRED_LINE) == (fault.line, fault.kind)
    assert "has no `prompt_condition_path` and no `target_codes_path`" == fault.detail


def test_missing_empty_and_unreadable_manifests_are_reported(tmp_path: Path) -> None:
    """A manifest that isn't there, has no lines or is a directory is named."""
    empty = write(tmp_path / "empty.jsonl", "", "  ")
    missing = str(tmp_path / "missing.jsonl")
    with pytest.raises(FaultsFound) as caught:
        load_pairs([missing, empty, str(tmp_path), "nul\0"])
    assert [
        (missing, FaultKind.MISSING_FILE),
        (empty, FaultKind.EMPTY_MANIFEST),
        (str(tmp_path), FaultKind.UNREADABLE),
        ("nul\0", FaultKind.UNREADABLE),
    ] == [(fault.manifest, fault.kind) for fault in caught.value.faults]
    assert 2 == caught.value.exit_code
    with pytest.raises(SettingsInvalid):
        load_pairs([])


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path: Path) -> None:
    """A manifest saved by an editor on Windows reads like any other."""
    raw = json.dumps(line(speaker="ሰላም\u2028x"), ensure_ascii=False)
    pairs = load_pairs([write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + raw.encode() + b"\r")])
    assert ("ሰላም\u2028x",) == pairs.speakers


NAMES = st.text(string.ascii_letters + string.digits + " _-=@.ሀለሐ", min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(NAMES, st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_random_manifests_come_back_as_written(rows: list[tuple[str, int, int, bool]]) -> None:
    """Ids, lengths and line numbers of any valid manifest are read as they were written."""
    with tempfile.TemporaryDirectory() as directory:
        lines: list[Any] = []
        for name, text_length, code_length, has_blank in rows:
            lines.append(line(id=name, target_text_len=text_length, target_code_len=code_length))
            lines += [""] * has_blank
        pairs = load_pairs([write(Path(directory) / "x.jsonl", *lines)])
    assert [row[:3] for row in rows] == list(
        zip(pairs.ids, pairs.text_lengths.tolist(), pairs.code_lengths.tolist(), strict=True)
    )
    numbers = [number for number, entry in enumerate(lines, start=1) if entry]
    assert numbers == pairs.line_numbers.tolist()
