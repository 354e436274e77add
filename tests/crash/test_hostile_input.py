"""Crafted checkpoints: a clear error, no code run, nothing outside the directory opened."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from support.hostile import checkpoint_of, file_entry, forge, forge_manifest, require_refused
from support.recorded_run import Training
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import UnbrokenError
from unbroken.run import resume as resuming


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Say how."""
        return os.system, ("touch executed",)


def archive(value: Any) -> bytes:
    """Return what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def header(entries: Any) -> bytes:
    """Return a tensor file of these entries and eight bytes."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "facts.json"])
@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), archive(Bomb())], ids=["pickle", "torch"]
)
def test_no_pickle_is_read(
    run: Path, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle under the name of a file of ours is refused, and what it says is not done."""
    monkeypatch.chdir(run.parent)
    forge(checkpoint_of(run), name, content)
    require_refused(run)
    assert not (run.parent / "executed").exists()


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        header({"a": {"dtype": "F32", "shape": [1 << 61], "data_offsets": [0, 1 << 63]}}),
        header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": "F32", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}),
        header({"a": {"dtype": "F32", "shape": [1] * 5000 + [2], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": "os.system", "shape": [2], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}),
        header({"../../a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        header([]),
        struct.pack("<Q", 200_000) + nested(100_000) + bytes(8),
    ],
)
def test_no_absurd_tensor_file_is_read(run: Path, content: bytes) -> None:
    """Sizes, shapes and dtypes that lie are refused before memory is asked for."""
    forge(checkpoint_of(run), "model.safetensors", content)
    require_refused(run)


@pytest.mark.parametrize(
    "state",
    [
        {"$": "tensor", "leaf": "../../../etc/passwd"},
        {"$": "tensor", "leaf": ["a"]},
        {"$": "array", "dtype": "|O", "shape": [1], "is": "AAAAAAAAAAA="},
        {"$": "array", "dtype": "<f8", "shape": [1 << 40], "is": ""},
        {"$": "array", "dtype": "|V2147483647", "shape": [], "is": ""},
        {"$": "dtype", "is": "torch.load"},
        {"$": "dtype", "is": "torch.os.system"},
        {"$": "size", "items": ["a"]},
        {"$": "deque", "items": [], "maxlen": -1},
        {"$": "set", "items": [[]]},
        {"$": "counter", "items": [[1, 2, 3]]},
        {"$": "device", "is": "cuda:" + "9" * 50},
        {"$": "exec", "is": "print"},
        {"$": ["tensor"], "leaf": "a"},
        {"$": "complex", "is": ["1"]},
        {"$": "int", "is": "f" * 10},
    ],
)
def test_no_absurd_state_is_read(run: Path, state: Any) -> None:
    """Tags that the codec doesn't write are refused; only `f`-digits may be a number after all."""
    place = checkpoint_of(run)
    found = json.loads((place / "state.json").read_bytes())
    found["parts"]["model"] = state
    forge(place, "state.json", json.dumps(found).encode())
    if state.get("$") == "int":
        assert 0xFFFFFFFFFF == Checkpoint.at(place).parts()["model"]
        return
    require_refused(run)


@pytest.mark.parametrize("name", ["state.json", "facts.json", "evidence.json", "manifest.json"])
@pytest.mark.parametrize(
    "content",
    [nested(100_000), b'{"a":' * 100_000, b"9" * 100_000, b'{"$":"dict","items":' * 5_000, b"\xff"],
    ids=["lists", "objects", "digits", "tags", "no text"],
)
def test_no_deep_json_is_read(run: Path, name: str, content: bytes) -> None:
    """JSON nested without end, or with endless numbers, is refused and doesn't end the process."""
    if name == "manifest.json":
        (checkpoint_of(run) / name).write_bytes(content)
    else:
        forge(checkpoint_of(run), name, content)
    require_refused(run)


@pytest.mark.parametrize(
    "name",
    ["../../../secret.json", "/etc/passwd", "..\\secret.json", "a/b.json", "C:secret.json", "nul\0.json"],
)  # fmt: skip
def test_no_path_leads_out(run: Path, name: str) -> None:
    """A manifest that names files elsewhere is refused, and they are not opened."""
    (run.parent / "secret.json").write_bytes(b"{}")
    found = read_manifest(checkpoint_of(run)).model_dump()
    found["files"][name] = file_entry(found["format"], b"{}")
    forge_manifest(checkpoint_of(run), found)
    require_refused(run)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_no_link_is_followed(run: Path, name: str) -> None:
    """A link to a file elsewhere is refused, even if it holds the very bytes."""
    aside = run.parent / "aside"
    (checkpoint_of(run) / name).rename(aside)
    (checkpoint_of(run) / name).symlink_to(aside)
    require_refused(run)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a system without it")
@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_no_endless_device_is_read(run: Path, name: str) -> None:
    """A link to a device that never ends is not opened."""
    (checkpoint_of(run) / name).unlink()
    (checkpoint_of(run) / name).symlink_to("/dev/zero")
    require_refused(run)


def test_no_linked_checkpoint_is_deleted_elsewhere(run: Path, tmp_path: Path) -> None:
    """A directory that a link leads to is never emptied, whatever retention thinks of the link."""
    elsewhere = Path(shutil.move(checkpoint_of(run), tmp_path / "elsewhere"))
    checkpoint_of(run).symlink_to(elsewhere, target_is_directory=True)
    before = sorted(each.name for each in elsewhere.iterdir())
    with contextlib.suppress(UnbrokenError):
        training = Training(run, keep=1)
        for until in (2, 3):
            training.train(until)
            training.run.save()
        training.run.close()
    assert before == sorted(each.name for each in elsewhere.iterdir())


@pytest.mark.parametrize(
    "content", [nested(100_000), b"", b"[]", b'{"run_id": 1}', b"9" * 9_999, b"\xff\xfe"]
)
def test_no_absurd_run_file_is_read(run: Path, content: bytes) -> None:
    """What isn't the file of a run is said to be none."""
    Layout(run).run_file.write_bytes(content)
    with pytest.raises(UnbrokenError):
        resuming.find_source(run, "auto")


@pytest.mark.parametrize(
    "content", [nested(100_000), b"[]\n", b'{"step": {}}\n', b"9" * 9_999 + b"\n", b"\xff\xfe"]
)
def test_no_absurd_file_beside_ends_a_start_by_a_bug(run: Path, content: bytes) -> None:
    """Nonsense in any other file of the run is passed over: the checkpoint is found and taken."""
    layout = Layout(run)
    for path in (layout.journal, layout.history, layout.latest, layout.owner_file, layout.pins):
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        training = Training(run)
        assert 1 == training.run.position.step, path.name
        training.run.close()
        path.unlink(missing_ok=True)
        if kept is not None:
            path.write_bytes(kept)
