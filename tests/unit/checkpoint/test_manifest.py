"""The manifest: whole to the last byte, of a known format, naming no file but its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from unbroken.checkpoint.formats import (
    FORMAT,
    FileWithHeader,
    Manifest,
    Manifest2,
    PlacedLeaf,
    new_manifest,
)
from unbroken.checkpoint.layout import CHECKPOINT_NAME, MANIFEST, checkpoint_name
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import CheckpointCorrupt, CheckpointOfLaterVersion
from unbroken.state.position import Position

DIGEST = "0" * 32
LEAF = {"file": "model.safetensors", "begin": 16, "dtype": "F32", "shape": [0], "digest": DIGEST}


def manifest(**changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "format": FORMAT,
        "run_id": "0123456789ab",
        "start": 1,
        "created": 1700000000.125,
        "position": Position(step=3, updates=3).state_dict(),
        "metrics": {"val_loss": 0.1},
        "files": {
            "model.safetensors": FileWithHeader(size=16, head=16, digest=DIGEST),
            "state.json": FileWithHeader(size=3, head=3, digest=DIGEST),
        },
        "leaves": {
            "model.w": PlacedLeaf(
                file="model.safetensors", begin=16, dtype="F32", shape=[2, 0], digest=DIGEST
            )
        },
    }
    return Manifest2(**{**given, **changes})


def write(place: Path, body: Any, digest: str | None = None) -> None:
    """Write a manifest with the digest that its body has, as an attacker or another version may."""
    text = json.dumps(body, indent=1, sort_keys=True)
    own = xxhash.xxh3_128_hexdigest(text.encode())
    whole = f'{{"digest": "{digest or own}",\n"manifest": {text}}}\n'
    (place / MANIFEST).write_bytes(whole.encode())


def test_it_comes_back(tmp_path: Path) -> None:
    """What was written is read, with its types."""
    (tmp_path / MANIFEST).write_bytes(manifest().to_bytes())
    assert manifest() == read_manifest(tmp_path)


def test_it_tells_where_tensors_lay(tmp_path: Path) -> None:
    """A tensor on a card has its place in it; where all lay on the host nothing is said of places."""
    assert b'"device": ' not in manifest().to_bytes()
    assert manifest().device_of("model.w") is None
    leaves = {
        "model.w": PlacedLeaf.model_validate({**LEAF, "device": "cuda:0"}),
        "model.v": PlacedLeaf.model_validate(LEAF),
    }
    content = {name: getattr(manifest(), name) for name in ("run_id", "start", "created", "files")}
    given = content | {"position": manifest().position, "metrics": {}}
    assert 2 == int(new_manifest(leaves={"model.v": leaves["model.v"]}, **given).format)
    written = new_manifest(leaves=leaves, **given)
    assert 3 == int(written.format)  # a version that knows no places says that it is of a later one
    (tmp_path / MANIFEST).write_bytes(written.to_bytes())
    found = read_manifest(tmp_path)
    assert ("cuda:0", "cpu") == tuple(found.device_of(f"model.{name}") for name in "wv")


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """A hostile file names no device of this program."""
    leaves = {"model.w": {**LEAF, "device": "cuda:0; rm"}}
    write(tmp_path, {**manifest().model_dump(), "leaves": leaves})
    with pytest.raises(CheckpointCorrupt, match="can't be read"):
        read_manifest(tmp_path)


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    """Whatever byte of it changes, by one bit or to a blank, it is refused: white space too."""
    whole = manifest().to_bytes()
    for place in range(len(whole)):
        for new in (whole[place] ^ 1, ord("\t") if whole[place] in b" \n" else ord(" ")):
            changed = bytearray(whole)
            changed[place] = new
            if changed != whole:
                (tmp_path / MANIFEST).write_bytes(changed)
                with pytest.raises(CheckpointCorrupt):
                    read_manifest(tmp_path)


@pytest.mark.parametrize("version", [0, 6, 999, "1", "2", None, True, 1.0, 2.0, [2]])
def test_another_format_is_refused(tmp_path: Path, version: Any) -> None:
    """A format that isn't known is not guessed at."""
    write(tmp_path, {**manifest().model_dump(), "format": version})
    with pytest.raises(CheckpointOfLaterVersion, match="knows 1, 2, 3"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../state.json",
        "/etc/passwd",
        "C:\\x.json",
        "sub/state.json",
        "..",
        "",
        "state.json\n",
        "state.pkl",
        "a b.json",
        "manifest.json",
        "x" * 300,
        "\x00.json",
    ],
)
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """A manifest can make nothing be opened but plain files beside it."""
    content = manifest().model_dump()
    content["files"][name] = {"size": 1, "head": 1, "digest": DIGEST}
    write(tmp_path, content)
    with pytest.raises(CheckpointCorrupt):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"run_id": 3},
        {"start": -1},
        {"start": 1.0},
        {"start": True},
        {"created": "now"},
        {"position": {"step": -1}},
        {"position": []},
        {"metrics": {"val_loss": "low"}},
        {"files": {"state.json": {"size": -1, "head": -1, "digest": DIGEST}}},
        {"files": {"state.json": {"size": 1 << 70, "head": 1 << 70, "digest": DIGEST}}},
        {"files": {"state.json": {"size": 1, "head": 1, "digest": "xyz"}}},
        {"files": {"state.json": {"size": 1, "head": 1}}},
        {"files": {"state.json": {"size": 1, "digest": DIGEST}}},
        {"files": {"state.json": {"size": 1, "head": 1.0, "digest": DIGEST}}},
        {"files": [["state.json", {"size": 1, "head": 1, "digest": DIGEST}]]},
        {"leaves": {"model.w": {**LEAF, "shape": [-1]}}},
        {"leaves": {"model.w": {**LEAF, "shape": 3}}},
        {"leaves": {"model.w": {**LEAF, "begin": -1}}},
        {"leaves": {"model.w": {**LEAF, "begin": 1 << 70}}},
        {"leaves": {"model.w": {**LEAF, "begin": None}}},
        {"leaves": {"model.w": {k: v for k, v in LEAF.items() if k != "begin"}}},
    ],
)
def test_values_of_another_kind_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Every field has its type and range; surplus and missing ones are refused."""
    write(tmp_path, {**manifest().model_dump(), **changes})
    with pytest.raises(CheckpointCorrupt, match="can't be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("field", sorted(manifest().model_dump().keys() - {"verified_from"}))
def test_a_missing_field_is_refused(tmp_path: Path, field: str) -> None:
    """No field is filled in by a default."""
    body = manifest().model_dump()
    del body[field]
    write(tmp_path, body)
    with pytest.raises(CheckpointCorrupt):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b"{}", b'{"manifest": {}}', b"[" * 100_000, b"\xff\xfe"],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    """Any other content is damage, never another error."""
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointCorrupt):
        read_manifest(tmp_path)


@pytest.mark.parametrize("kind", ["none", "directory", "no checkpoint"])
def test_a_missing_manifest_is_a_save_that_never_finished(tmp_path: Path, kind: str) -> None:
    """Without its manifest, which is written last, a directory is no checkpoint."""
    place = tmp_path / "missing" if kind == "no checkpoint" else tmp_path
    if kind == "directory":
        (tmp_path / MANIFEST).mkdir()
    with pytest.raises(CheckpointCorrupt):
        read_manifest(place)


@pytest.mark.parametrize("position", [{}, {"step": 1}, {**Position().state_dict(), "x": 1}])
def test_a_position_with_other_counters_is_refused(tmp_path: Path, position: Any) -> None:
    """A checkpoint whose position can't be read is not listed as one."""
    write(tmp_path, {**manifest().model_dump(), "position": position})
    with pytest.raises(CheckpointCorrupt):
        Checkpoint.at(tmp_path)


def test_names_of_checkpoints_sort_by_position() -> None:
    """A name is made of the position, and the listing of a directory is in order of age."""
    positions = [Position(step=3), Position(step=3, samples=24), Position(step=10)]
    names = [checkpoint_name(each) for each in positions]
    assert ["step-00000003", "step-00000003+24", "step-00000010"] == names == sorted(names)
    assert "step-123456789" == checkpoint_name(Position(step=123456789))
    assert all(CHECKPOINT_NAME.fullmatch(name) for name in names)
    assert not CHECKPOINT_NAME.fullmatch("step-00000003-backup")


def test_a_manifest_from_before_a_field_was_added_is_read(tmp_path: Path) -> None:
    """A field that a format gained has a default; what was written without it stays readable."""
    given = manifest().model_dump()
    del given["verified_from"]
    write(tmp_path, given)
    assert "cache" == read_manifest(tmp_path).verified_from
