"""What the manifests of both formats say of the files, and what they are refused for."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from unbroken.checkpoint.formats import Manifest1, Manifest2, closed
from unbroken.checkpoint.layout import MANIFEST
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.segment import Segment, told_apart
from unbroken.errors import CheckpointCorrupt
from unbroken.state.dtypes import MOST_BYTES, byte_count

FILE = "model.safetensors"
D = [f"{number:032x}" for number in range(9)]


def leaf(begin: int, shape: list[int], digest: str = D[0], **changes: Any) -> dict[str, Any]:
    return {
        "file": FILE,
        "dtype": "F32",
        "begin": begin,
        "shape": shape,
        "digest": digest,
    } | changes


def content(size: int, head: int, leaves: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of one tensor file and a document of five bytes."""
    return {
        "format": 2,
        "run_id": "0123456789ab",
        "start": 1,
        "created": 1700000000.125,
        "position": {"epoch": 0, "batch": 0, "samples": 0, "step": 1, "updates": 1},
        "metrics": {},
        "verified_from": "cache",
        "files": {
            FILE: {"size": size, "head": head, "digest": D[7]},
            "state.json": {"size": 5, "head": 5, "digest": D[8]},
        },
        "leaves": {name: dict(each) for name, each in leaves.items()},
    }


TILED = {"b": leaf(10, [2], D[2]), "a": leaf(18, [3], D[3]), "none": leaf(18, [4, 0], D[1])}


def refused(place: Path, found: Any) -> str:
    (place / MANIFEST).write_bytes(closed(found))
    with pytest.raises(CheckpointCorrupt) as caught:
        read_manifest(place)
    return caught.value.what


def test_a_file_is_its_head_and_its_tensors() -> None:
    """Format 2: in the order of their bytes, an empty tensor where it stands."""
    segments = Manifest2.model_validate(content(30, 10, TILED)).segments
    assert [
        (None, 0, 10, D[7]),
        ("b", 10, 8, D[2]),
        ("none", 18, 0, D[1]),
        ("a", 18, 12, D[3]),
    ] == [(each.leaf, each.begin, each.size, each.digest) for each in segments[FILE]]
    assert [Segment(leaf=None, begin=0, size=5, digest=D[8])] == segments["state.json"]


def test_a_file_of_format_1_is_one_stretch() -> None:
    """Its tensors have digests too, but the file is verified as a whole."""
    old = content(30, 10, {"b": leaf(10, [2])})
    old["format"] = 1
    for each in old["files"].values():
        del each["head"]
    del old["leaves"]["b"]["begin"]
    segments = Manifest1.model_validate(old).segments
    assert [Segment(leaf=None, begin=0, size=30, digest=D[7])] == segments[FILE]


@pytest.mark.parametrize("version", [1, 2])
def test_no_format_takes_the_fields_of_the_other(tmp_path: Path, version: int) -> None:
    """What has all fields of one format and the number of the other is refused."""
    found = content(30, 10, dict(TILED))
    if version == 2:
        for each in found["files"].values():
            del each["head"]
        for each in found["leaves"].values():
            del each["begin"]
    assert "can't be read" in refused(tmp_path, {**found, "format": version})


@pytest.mark.parametrize(
    ("size", "head", "leaves", "why"),
    [
        (30, 31, TILED, "'b' begins at byte 10 of model.safetensors, not at 31"),
        (30, 0, TILED, "'b' begins at byte 10 of model.safetensors, not at 0"),
        (30, 9, TILED, "'b' begins at byte 10 of model.safetensors, not at 9"),
        (31, 10, TILED, "has 31 bytes, its head and its tensors take 30"),
        (29, 10, TILED, "has 29 bytes, its head and its tensors take 30"),
        (30, 10, {}, "has 30 bytes, its head and its tensors take 10"),
        (30, 31, {}, "has 30 bytes, its head and its tensors take 31"),
        (30, 10, TILED | {"a": leaf(17, [3])}, "'a' begins at byte 17"),
        (30, 10, TILED | {"a": leaf(19, [3])}, "'a' begins at byte 19"),
        (30, 10, TILED | {"a": leaf(10, [3])}, "'a' begins at byte 10 of model.safetensors, not"),
        (30, 10, TILED | {"c": leaf(18, [3])}, "'c' begins at byte 18 of model.safetensors, not"),
        (30, 10, TILED | {"none": leaf(19, [0])}, "'none' begins at byte 19"),
        (30, 10, TILED | {"none": leaf(31, [0])}, "'none' begins at byte 31"),
        (30, 10, TILED | {"a": leaf(1 << 61, [3])}, "'a' begins at byte 2305843009213693952"),
        (30, 10, TILED | {"a": leaf(18, [1 << 61, 1 << 61])}, "take"),
        (30, 10, TILED | {"a": leaf(18, [3], dtype="F31")}, "the dtype of 'a' is 'F31'"),
        (30, 10, TILED | {"a": leaf(18, [3], dtype="f" * 9999)}, "the dtype of 'a' is 'ffff"),
        (30, 10, TILED | {"c": leaf(5, [0], file="state.json")}, "no file of tensors 'state.json'"),
        (30, 10, TILED | {"c": leaf(0, [0], file="ema.safetensors")}, "no file of tensors 'ema"),
        (30, 10, TILED | {"\x1b[2J" * 999: leaf(1, [0])}, "\\x1b[2J"),
    ],
)
def test_tensors_that_do_not_fill_their_file_are_refused(
    tmp_path: Path, size: int, head: int, leaves: dict[str, Any], why: str
) -> None:
    """Overlaps, gaps, places beyond the end, foreign files: the reason says which tensor, in short."""
    what = refused(tmp_path, content(size, head, leaves))
    assert why in what
    assert "contradicts itself" in what
    assert len(what) - len(str(tmp_path)) < 500
    assert what.isprintable()


@pytest.mark.parametrize("size", [(1 << 62) - 1, 3])
def test_absurd_shapes_take_no_time(tmp_path: Path, size: int) -> None:
    """Dimensions without end neither overflow nor grow into numbers that keep a processor busy."""
    shape = [size] * 100_000
    assert MOST_BYTES == byte_count(shape, torch.float32)
    assert 0 == byte_count([*shape, 0], torch.float32)
    shapes = {"a": leaf(1, shape), "b": leaf(1, [*shape, 0])}
    assert "contradicts itself" in refused(tmp_path, content(1 << 61, 1, shapes))


def test_many_files_and_tensors_are_put_together_in_one_pass(tmp_path: Path) -> None:
    """The work grows with the length of the manifest; with its square this would take minutes."""
    found = content(10, 10, {f"l{n}": leaf(10, [0]) for n in range(20_000)})
    found["files"] |= {f"f{n}.json": {"size": 0, "head": 0, "digest": D[0]} for n in range(20_000)}
    (tmp_path / MANIFEST).write_bytes(closed(found))
    assert 20_001 == len(read_manifest(tmp_path).segments[FILE])


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=6), st.randoms())
def test_any_order_of_names_is_put_into_the_order_of_bytes(shapes: Any, random: Any) -> None:
    """Whatever the tensors are called, their segments follow one another."""
    at, leaves = 8, {}
    names = random.sample([f"l{n}" for n in range(len(shapes))], len(shapes))
    for name, shape in zip(names, shapes, strict=True):
        leaves[name] = leaf(at, shape)
        at += 4 * math.prod(shape)
    segments = Manifest2.model_validate(content(at, 8, leaves)).segments[FILE]
    assert at == segments[-1].end
    assert all(one.end == two.begin for one, two in pairwise(segments))


def test_a_written_manifest_is_of_format_2() -> None:
    """Its bytes are those of its content, with the digest over them."""
    found = content(30, 10, TILED)
    whole = Manifest2.model_validate(found).to_bytes()
    assert json.loads(whole)["manifest"] == found
    body = json.dumps(found, indent=1, sort_keys=True).encode()
    assert json.loads(whole)["digest"] == xxhash.xxh3_128_hexdigest(body)


def test_a_damage_is_told_with_its_tensor() -> None:
    """The first damaged tensor by name, and how many more; of a document only the file."""
    segments = Manifest2.model_validate(content(30, 10, TILED)).segments[FILE]
    kept = [each.digest for each in segments]
    assert told_apart(FILE, segments, kept) is None
    said = "the bytes of {} in model.safetensors are not the ones that were saved{}"
    assert said.format("a", "") == told_apart(FILE, segments, [*kept[:3], D[5]])
    assert said.format("b", ", nor those of 1 more") == told_apart(
        FILE, segments, [kept[0], D[5], kept[2], D[5]]
    )
    assert said.format("the header", ", nor those of 3 more") == told_apart(
        FILE, segments, [D[5]] * 4
    )
    document = Manifest2.model_validate(content(30, 10, TILED)).segments["state.json"]
    assert "the bytes of state.json are not the ones that were saved" == told_apart(
        "state.json", document, [D[5]]
    )
    hostile = [Segment(leaf="\x1b[2J" * 999, begin=0, size=1, digest=D[0])] * 2
    told = told_apart("x.safetensors", hostile, [D[1]] * 2)
    assert told is not None
    assert told.isprintable()
    assert len(told) < 1000
