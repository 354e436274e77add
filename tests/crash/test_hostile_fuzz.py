"""Anything at all in a checkpoint is refused or read as what was written."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.hostile import checkpoint_of, forge, forge_manifest, read_all, watched
from support.sameness import same
from unbroken.checkpoint.formats import Manifest
from unbroken.checkpoint.manifest import read_manifest
from unbroken.errors import CheckpointCorrupt, UnbrokenError
from unbroken.state.codec import decode, encode

NUMBERS = st.integers() | st.floats() | st.sampled_from([2**62, -1, 2**64, 10**400])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20)
TAGS = st.sampled_from(
    ["tensor", "array", "scalar", "dict", "tuple", "size", "set", "deque", "int", "float", "str",
     "bytes", "dtype", "device", "path", "counter", "ordered", "complex", "bytearray", "other"]
)  # fmt: skip
KEYS = st.sampled_from(["$", "is", "items", "leaf", "dtype", "shape", "maxlen"]) | st.text(
    max_size=5
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.builds(lambda tag, rest: {**rest, "$": tag}, TAGS, st.dictionaries(KEYS, inner))
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_decoded_or_refused(data: Any) -> None:
    """Whatever the JSON, decoding ends with a value that has this form, or with CheckpointCorrupt."""
    try:
        value = decode(data, {})
    except CheckpointCorrupt:
        return
    tensors: dict[str, Any] = {}
    assert same(value, decode(json.loads(json.dumps(encode(value, "part", tensors))), tensors))
    assert {} == tensors


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*here, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    return {**value, path[0]: changed(value[path[0]], path[1:], new)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_any_changed_manifest_is_refused_or_harmless(run: Path, data: st.DataObject) -> None:
    """Any value of a manifest may be any other: refused, or the state that is read is verified."""
    place = checkpoint_of(run)
    whole = (place / "manifest.json").read_bytes()
    content = read_manifest(place).model_dump()
    path = data.draw(st.sampled_from(sorted(paths(content), key=repr)))
    try:
        forge_manifest(place, changed(content, path, data.draw(JSON)))
        with watched() as opened, contextlib.suppress(UnbrokenError):
            read_all(place)
            assert isinstance(read_manifest(place), Manifest)
        assert [] == [each for each in opened if not each.startswith(str(run))]
    finally:
        (place / "manifest.json").write_bytes(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(data=st.data())
def test_any_changed_header_is_refused(run: Path, data: st.DataObject) -> None:
    """Any value of a tensor file's header may be any other, its digests mended: it is refused."""
    place = checkpoint_of(run)
    kept = {each.name: each.read_bytes() for each in place.iterdir()}
    whole = kept["model.safetensors"]
    (length,) = struct.unpack("<Q", whole[:8])
    content = json.loads(whole[8 : 8 + length])
    path = data.draw(st.sampled_from(sorted(paths(content), key=repr)))
    other = changed(content, path, data.draw(JSON))
    text = json.dumps(other).encode()
    try:
        forge(place, "model.safetensors", struct.pack("<Q", len(text)) + text + whole[8 + length :])
        if other != content:
            with pytest.raises(UnbrokenError):
                read_all(place)
    finally:
        for name, each in kept.items():
            (place / name).write_bytes(each)
