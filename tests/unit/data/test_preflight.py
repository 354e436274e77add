from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.checked_pairs import (
    LIMITS,
    PAIRS,
    check,
    facts_of,
    lines_of,
    rewrite,
    written,
)
from unbroken.errors import DataInvalid
from unbroken_tts.data.faults import FaultKind, FaultsFound, SampleFault, write_faults
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.preflight import overlap_note, preflight

if TYPE_CHECKING:
    from collections.abc import Callable


def test_valid_pairs_pass_and_are_read_once(tmp_path: Path) -> None:
    """Every distinct array is read at the first start, none at the second, with equal outcome."""
    manifest = written(tmp_path)
    calls: list[tuple[int, int]] = []
    first = check(manifest, progress=lambda done, total: calls.append((done, total)))
    second = check(manifest, progress=lambda *call: calls.append(call))
    named = {
        line[name]
        for line in lines_of(manifest)
        for name in (
            "target_text_ids_path",
            "target_codes_path",
            "prompt_condition_path",
            "prompt_emo_vec_path",
        )
    }
    assert len(named) == first.arrays == first.arrays_read
    assert 0 == second.arrays_read
    assert (len(named), len(named)) == calls[-1]
    assert facts_of(first) == facts_of(second)
    assert ((), 0, ()) == (first.dropped, first.dropped_samples, first.notes)


def test_the_fingerprint_scheme_is_frozen(tmp_path: Path) -> None:
    """The fingerprint of known samples is this very number, for good."""
    for kind, array in {
        "text": np.array([3, 4, 5], dtype=np.int32),
        "codes": np.array([7, 8], dtype=np.int32),
        "condition": np.arange(32, dtype=np.float32).reshape(4, 8),
        "emo": np.arange(8, dtype=np.float32),
    }.items():
        np.save(tmp_path / f"{kind}.npy", array)
    line = {
        "id": "ሀ__b",
        "target_text_ids_path": "text.npy",
        "target_text_len": 3,
        "target_codes_path": "codes.npy",
        "target_code_len": 2,
        "prompt_condition_path": "condition.npy",
        "prompt_emo_vec_path": "emo.npy",
    }
    rewrite(tmp_path / "x.jsonl", [line])
    assert "3872f49b908a7a89f2f493acba022255" == check(tmp_path / "x.jsonl").fingerprint


def test_the_fingerprint_follows_content_and_order_never_paths(tmp_path: Path) -> None:
    """Moving the data changes nothing; order, ids and array bytes change the fingerprint."""
    manifest = written(tmp_path / "a")
    original = check(manifest).fingerprint
    (tmp_path / "a").rename(tmp_path / "b")
    manifest = tmp_path / "b" / manifest.name
    assert original == check(manifest, tmp_path / "other").fingerprint
    lines = lines_of(manifest)
    rewrite(manifest, lines[::-1])
    assert original != check(manifest).fingerprint
    rewrite(manifest, [{**lines[0], "id": "another"}, *lines[1:]])
    assert original != check(manifest).fingerprint
    rewrite(manifest, lines)
    assert original == check(manifest).fingerprint
    emo = manifest.parent / lines[0]["prompt_emo_vec_path"]
    np.save(emo, np.load(emo) + np.float32(1))
    assert original != check(manifest).fingerprint


def replaced(name: str, change: Callable[[np.ndarray[Any, Any]], Any]) -> Any:
    """Return a damage that replaces the array of one line."""

    def damage(directory: Path, line: dict[str, Any]) -> dict[str, Any]:
        array = np.load(directory / line[name])
        np.save(directory / "damaged.npy", change(array))
        return {**line, name: "damaged.npy"}

    return damage


def longer(name: str, field: str, length: int) -> Any:
    """Return a damage that makes array and promised length equally too long."""

    def damage(directory: Path, line: dict[str, Any]) -> dict[str, Any]:
        np.save(directory / "damaged.npy", np.full(length, 5, dtype=np.int32))
        return {**line, name: "damaged.npy", field: length}

    return damage


def with_value(value: float) -> Callable[[np.ndarray[Any, Any]], Any]:
    """Return a change that puts one value into an array."""

    def change(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array.flat[-1] = value
        return array

    return change


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Any:
    """Return a damage on the bytes of the file."""

    def damage(directory: Path, line: dict[str, Any]) -> dict[str, Any]:
        content = (directory / line[name]).read_bytes()
        (directory / "damaged.npy").write_bytes(change(content))
        return {**line, name: "damaged.npy"}

    return damage


def fields(**changes: Any) -> Any:
    """Return a damage on the line alone."""
    return lambda _directory, line: {**line, **changes}


TEXT, CODES = "target_text_ids_path", "target_codes_path"
CONDITION, EMO = "prompt_condition_path", "prompt_emo_vec_path"
DAMAGES: dict[str, tuple[FaultKind, Any]] = {
    "missing": (FaultKind.MISSING_FILE, fields(**{TEXT: "nowhere.npy"})),
    "directory": (FaultKind.UNREADABLE, fields(**{CODES: "features"})),
    "below a file": (FaultKind.UNREADABLE, fields(**{CODES: "train_pairs.jsonl/x"})),
    "truncated": (FaultKind.UNREADABLE, bytes_of(CONDITION, lambda content: content[:-1])),
    "emptied": (FaultKind.UNREADABLE, bytes_of(EMO, lambda _: b"")),
    "foreign": (FaultKind.UNREADABLE, bytes_of(TEXT, lambda _: b"RIFF....WAVE")),
    "pickled": (FaultKind.PICKLED, replaced(TEXT, lambda array: array.astype(object))),
    "int64": (FaultKind.WRONG_DTYPE, replaced(TEXT, lambda array: array.astype(np.int64))),
    "float codes": (FaultKind.WRONG_DTYPE, replaced(CODES, lambda array: array.astype("f4"))),
    "float64": (FaultKind.WRONG_DTYPE, replaced(EMO, lambda array: array.astype(np.float64))),
    "int emotion": (FaultKind.WRONG_DTYPE, replaced(EMO, lambda array: array.astype("i4"))),
    "text rows": (FaultKind.WRONG_SHAPE, replaced(TEXT, lambda array: array[None])),
    "no codes": (FaultKind.WRONG_SHAPE, replaced(CODES, lambda array: array[:0])),
    "few rows": (FaultKind.WRONG_SHAPE, replaced(CONDITION, lambda array: array[:-1])),
    "transposed": (FaultKind.WRONG_SHAPE, replaced(CONDITION, lambda array: array.T)),
    "narrow": (FaultKind.WRONG_SHAPE, replaced(EMO, lambda array: array[:-1])),
    "emotion rows": (FaultKind.WRONG_SHAPE, replaced(EMO, lambda array: array[None])),
    "text length": (FaultKind.WRONG_LENGTH, fields(target_text_len=190)),
    "code length": (FaultKind.WRONG_LENGTH, fields(target_code_len=190)),
    "id too large": (FaultKind.OUTSIDE_VOCABULARY, replaced(TEXT, with_value(40))),
    "id negative": (FaultKind.OUTSIDE_VOCABULARY, replaced(TEXT, with_value(-1))),
    "code too large": (FaultKind.OUTSIDE_CODE_BOOK, replaced(CODES, with_value(32))),
    "code negative": (FaultKind.OUTSIDE_CODE_BOOK, replaced(CODES, with_value(-1))),
    "long text": (FaultKind.TOO_LONG, longer(TEXT, "target_text_len", 13)),
    "many codes": (FaultKind.TOO_LONG, longer(CODES, "target_code_len", 26)),
    "nan": (FaultKind.NON_FINITE, replaced(CONDITION, with_value(float("nan")))),
    "infinity": (FaultKind.NON_FINITE, replaced(EMO, with_value(float("-inf")))),
    "duplicate": (FaultKind.DUPLICATE_ID, None),
    "self": (FaultKind.PROMPT_IS_TARGET, fields(prompt_id="x", target_id="x")),
}


def damaged(directory: Path, name: str, number: int) -> tuple[Path, SampleFault]:
    """Write pairs, damage one line; return the manifest and the fault to be found (no detail)."""
    kind, damage = DAMAGES[name]
    manifest = written(directory)
    lines = lines_of(manifest)
    if damage is None:
        lines[number - 1]["id"] = lines[0]["id"]
    else:
        lines[number - 1] = damage(directory, lines[number - 1])
    rewrite(manifest, lines)
    pair_id = lines[number - 1]["id"]
    return manifest, SampleFault(
        manifest=str(manifest), line=number, kind=kind, detail="", pair_id=pair_id
    )


@pytest.mark.parametrize("name", DAMAGES)
def test_each_kind_of_fault_is_found_with_its_line(tmp_path: Path, name: str) -> None:
    """One damaged line gives exactly that fault, at the first start and at the second."""
    manifest, expected = damaged(tmp_path, name, 4)
    for _ in range(2):
        with pytest.raises(FaultsFound, match=f"{manifest.name}:4: {expected.kind}") as caught:
            check(manifest)
        assert [expected] == [replace(fault, detail="") for fault in caught.value.faults]
        assert isinstance(caught.value, DataInvalid)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(DAMAGES)), st.integers(2, PAIRS))
def test_a_faulty_sample_is_dropped_and_only_it(name: str, number: int) -> None:
    """With `drop` all other samples stay as they are, and what was dropped is listed."""
    with tempfile.TemporaryDirectory() as directory:
        manifest, expected = damaged(Path(directory), name, number)
        pairs = load_pairs([str(manifest)])
        checked = check(manifest, on_bad="drop")
        good = [index for index in range(PAIRS) if index != number - 1]
        alone = Path(directory) / "alone.jsonl"
        rewrite(alone, [lines_of(manifest)[index] for index in good])
        assert check(alone).fingerprint == checked.fingerprint
    assert pairs.select(good).ids == checked.pairs.ids
    assert pairs.select(good).text_paths == checked.pairs.text_paths
    assert (expected,) == tuple(replace(fault, detail="") for fault in checked.dropped)
    assert 1 == checked.dropped_samples
    assert (f"1 of {PAIRS} samples are faulty and were dropped.",) == checked.notes


def test_the_largest_allowed_lengths_pass(tmp_path: Path) -> None:
    """T = max_text_tokens and M = max_mel_tokens + 1 just fit the position tables."""
    manifest = written(tmp_path)
    lines = lines_of(manifest)
    lines[0] = longer(TEXT, "target_text_len", 12)(tmp_path, lines[0])
    (tmp_path / "damaged.npy").rename(tmp_path / "text.npy")
    lines[0][TEXT] = "text.npy"
    lines[0] = longer(CODES, "target_code_len", 25)(tmp_path, lines[0])
    rewrite(manifest, lines)
    assert PAIRS == len(check(manifest).pairs)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """Faults of many lines come in one error: counts of all, some of each kind, a full list."""
    manifest = written(tmp_path, 60)
    lines = lines_of(manifest)
    for line in lines[:40]:
        line["target_code_len"] += 1
    lines[50] = fields(prompt_id="x", target_id="x", target_text_ids_path="no")(tmp_path, lines[50])
    rewrite(manifest, lines)
    with pytest.raises(FaultsFound) as caught:
        check(manifest)
    message = str(caught.value)
    assert "41 of 60 samples can't be trained on: 42 faults (40 x length field differs" in message
    assert f"{manifest}:51: prompt equals target" in message
    assert f"{manifest}:51: missing file" in message
    assert f"{manifest}:1: length field differs [{lines[0]['id']}]" in message
    assert "... and 22 more" in message
    write_faults(caught.value.faults, tmp_path / "faults.txt")
    assert 42 == len((tmp_path / "faults.txt").read_text(encoding="utf-8").splitlines())


def test_nothing_left_is_an_error_also_when_dropping(tmp_path: Path) -> None:
    """A set without a single good sample stops, whatever was asked."""
    manifest = written(tmp_path)
    rewrite(manifest, [{**line, "target_code_len": 0} for line in lines_of(manifest)])
    with pytest.raises(FaultsFound, match=f"{PAIRS} of {PAIRS} samples"):
        check(manifest, on_bad="drop")


def test_duplicate_ids_are_found_across_manifests(tmp_path: Path) -> None:
    """The same manifest named twice has every id twice; the later lines are at fault."""
    manifest = str(written(tmp_path))
    pairs = load_pairs([manifest, manifest])
    with pytest.raises(FaultsFound) as caught:
        preflight(pairs, LIMITS, tmp_path / "facts")
    assert {FaultKind.DUPLICATE_ID} == {fault.kind for fault in caught.value.faults}
    assert f"already used at {manifest}:1" in caught.value.faults[0].detail
    dropped = preflight(pairs, LIMITS, tmp_path / "facts", on_bad="drop")
    assert pairs.ids[:PAIRS] == dropped.pairs.ids


def test_a_shared_faulty_array_is_reported_for_each_of_its_lines(tmp_path: Path) -> None:
    """Every line that uses a missing prompt is listed, not only the first."""
    manifest = written(tmp_path)
    lines = lines_of(manifest)
    (tmp_path / lines[2][EMO]).unlink()
    expected = [number for number, line in enumerate(lines, 1) if line[EMO] == lines[2][EMO]]
    with pytest.raises(FaultsFound) as caught:
        check(manifest)
    assert expected == [fault.line for fault in caught.value.faults]


def test_samples_of_both_sets_are_noted(tmp_path: Path) -> None:
    """Validation on trained samples is a warning; disjoint sets give none."""
    train = check(written(tmp_path)).pairs
    validation = check(written(tmp_path, 3, split="val")).pairs
    assert overlap_note(train, validation) is None
    note = overlap_note(train, train.select([0, 1]))
    assert note is not None
    assert note.startswith("2 pair ids and 1 target utterances")
