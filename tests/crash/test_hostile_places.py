"""Manifests that lie about where the tensors stand: refused, whatever else fits together."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.hostile import checkpoint_of, forge, forge_manifest, require_refused
from support.recorded_run import Training
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import CheckpointCorrupt

FILE = "optimizer.safetensors"
PAIR = ("optimizer.state.model.0.weight.exp_avg", "optimizer.state.model.0.weight.exp_avg_sq")
"""Two tensors of one shape."""

Lie = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]
"""Changes what a manifest says of the file and of the two tensors."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint of format 2."""
    training = Training(tmp_path_factory.mktemp("places") / "run")
    training.train(1)
    training.run.save()
    training.run.close()
    return training.run.layout.root


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(written, tmp_path / "run"))


def lie(checkpoint: Path, change: Lie) -> None:
    found = read_manifest(checkpoint).model_dump()
    change(found["files"][FILE], *(found["leaves"][each] for each in PAIR))
    forge_manifest(checkpoint, found)


def header_of(checkpoint: Path) -> tuple[dict[str, Any], bytes]:
    """Return the header of the file, and the bytes after it."""
    whole = (checkpoint / FILE).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def exchanged(one: dict[str, Any], other: dict[str, Any], *fields: str) -> None:
    for each in fields:
        one[each], other[each] = other[each], one[each]


@pytest.mark.parametrize(
    "change",
    [
        lambda file, _a, _b: file.update(head=0),
        lambda file, _a, _b: file.update(head=8),
        lambda file, _a, _b: file.update(head=file["head"] + 1),
        lambda file, _a, _b: file.update(head=file["size"]),
        lambda file, _a, _b: file.update(head=(1 << 62) - 1),
        lambda file, _a, _b: file.update(size=file["size"] + 1),
        lambda file, _a, _b: file.update(size=(1 << 62) - 1),
        lambda _f, a, b: a.update(begin=b["begin"]),
        lambda _f, a, _b: a.update(begin=a["begin"] + 4),
        lambda _f, a, _b: a.update(begin=a["begin"] - 4),
        lambda file, a, _b: a.update(begin=file["size"]),
        lambda _f, a, _b: a.update(begin=0),
        lambda _f, a, _b: a.update(begin=(1 << 62) - 1),
        lambda _f, a, _b: a.update(file="state.json"),
        lambda _f, a, _b: a.update(file="model.safetensors"),
        lambda _f, a, _b: a.update(file="absent.safetensors"),
        lambda _f, a, _b: a.update(file="../run/optimizer.safetensors"),
        lambda _f, a, _b: a.update(dtype="F64"),
        lambda _f, a, _b: a.update(dtype="I32"),
        lambda _f, a, _b: a.update(dtype="os.system"),
        lambda _f, a, _b: a.update(shape=[(1 << 62) - 1] * 1000),
        lambda _f, a, _b: a.update(shape=[*a["shape"], 0]),
        lambda _f, a, _b: a.update(shape=a["shape"][::-1]),
        lambda _f, a, _b: a.update(shape=[1] * 100_000 + a["shape"]),
        lambda _f, a, b: exchanged(a, b, "begin"),
        lambda _f, a, b: exchanged(a, b, "digest"),
        lambda _f, a, b: exchanged(a, b, "begin", "digest"),
    ],
)
def test_a_lie_about_a_place_is_refused(run: Path, change: Lie) -> None:
    """Heads, begins, files, dtypes and shapes, each alone and all that fits together in pairs."""
    lie(checkpoint_of(run), change)
    require_refused(run)


def test_tensors_exchanged_in_all_digests_are_found_by_their_places(run: Path) -> None:
    """Every digest fits, but the file's own header puts each of the two where the other was."""
    place = checkpoint_of(run)
    lie(place, lambda _f, a, b: exchanged(a, b, "begin", "digest"))
    found = Checkpoint.at(place)
    found.verify()
    with pytest.raises(CheckpointCorrupt, match="has another place than the manifest says"):
        found.stored_parts()


def test_a_header_exchanged_with_its_digest_is_found_by_the_places(run: Path) -> None:
    """The same from the other side: the header says the two in the other order."""
    place = checkpoint_of(run)
    header, rest = header_of(place)
    names = {PAIR[0]: PAIR[1], PAIR[1]: PAIR[0]}
    text = json.dumps({names.get(name, name): each for name, each in header.items()}).encode()
    forge(place, FILE, struct.pack("<Q", len(text)) + text + rest)
    Checkpoint.at(place).verify()
    require_refused(run)


def test_a_header_that_is_called_a_tensor_is_refused(run: Path) -> None:
    """A manifest may say that the header's bytes are a tensor's: what the file says decides."""
    place = checkpoint_of(run)
    found = read_manifest(place).model_dump()
    head = found["files"][FILE]["head"]
    digest = found["files"][FILE]["digest"]
    found["files"][FILE] |= {"head": 0, "digest": "99aa06d3014798d86001c324468d497f"}
    found["leaves"]["header"] = {
        "file": FILE, "begin": 0, "dtype": "U8", "shape": [head], "digest": digest,
    }  # fmt: skip
    forge_manifest(place, found)
    Checkpoint.at(place).verify()
    require_refused(run)
