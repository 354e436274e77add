"""The commit: a checkpoint exists or it doesn't.

1. All files are written into a directory with a temporary name, each fsynced.
2. The manifest, with the digests of what was captured, is written last; the directory is fsynced.
3. One rename gives the directory its name; its parent is fsynced.
4. `latest` is replaced the same way.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import EVIDENCE, FACTS, MANIFEST, STATE, Layout, checkpoint_name
from unbroken.checkpoint.manifest import FORMAT, FileEntry, LeafEntry, Manifest
from unbroken.checkpoint.tensor_file import dtype_name, write_tensors
from unbroken.errors import SaveFailed
from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digest
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run's state at one instant."""

    run_id: str
    start: int
    position: Position
    parts: Mapping[str, Any]
    """Captured state by part; the tensors may be the live ones while training stands still."""
    facts: Mapping[str, Any]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def commit(layout: Layout, snapshot: Snapshot) -> Path:
    """Write a snapshot as a checkpoint and make it durable and visible.

    Returns:
        The checkpoint's directory.

    Raises:
        SaveFailed: The disk refused; whatever was visible before is untouched.
        NotEncodable: The state holds something that has no faithful form.
    """
    target = layout.checkpoints / checkpoint_name(snapshot.position)
    aside = layout.checkpoints / f".{target.name}.{os.getpid()}.tmp"
    try:
        disk.make_directory(layout.checkpoints)
        disk.remove_tree(aside)
        disk.make_directory(aside)
        manifest = _write_files(aside, snapshot)
        disk.write_new_file(aside / MANIFEST, [manifest.to_bytes()])
        disk.sync_directory(aside)
        if target.exists():
            set_aside(layout, target)
        disk.rename(aside, target)
        disk.replace_file(layout.latest, f"{target.name}\n".encode())
    except OSError as error:
        raise SaveFailed(
            f"Checkpoint {target} could not be written: {error}.",
            "The work since the last checkpoint is at risk; the last one is untouched.",
            "Free space on the disk, or check its permissions.",
        ) from error
    return target


def set_aside(layout: Layout, checkpoint: Path) -> Path:
    """Move a checkpoint out of the line of this run without deleting it; return where to."""
    disk.make_directory(layout.superseded)
    place = layout.superseded / f"{checkpoint.name}.{time.time_ns()}"
    disk.rename(checkpoint, place)
    return place


def _write_files(aside: Path, snapshot: Snapshot) -> Manifest:
    state: dict[str, Any] = {}
    leaves: dict[str, LeafEntry] = {}
    files: dict[str, FileEntry] = {}
    for part, value in snapshot.parts.items():
        tensors: dict[str, torch.Tensor] = {}
        state[part] = encode(value, part, tensors)
        if tensors:
            name = f"{part}.safetensors"
            write_tensors(aside / name, tensors)
            leaves |= {leaf: _leaf(leaf, each, name) for leaf, each in tensors.items()}
            files[name] = _file(aside / name)
    documents = {
        STATE: {"position": snapshot.position.state_dict(), "parts": state},
        FACTS: encode(dict(snapshot.facts), "facts", {}),
        EVIDENCE: encode(dict(snapshot.evidence), "evidence", {}),
    }
    for name, document in documents.items():
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        disk.write_new_file(aside / name, [text.encode()])
        files[name] = _file(aside / name)
    return Manifest(
        format=FORMAT,
        run_id=snapshot.run_id,
        start=snapshot.start,
        created=time.time(),
        position=snapshot.position.state_dict(),
        metrics=dict(snapshot.metrics),
        files=files,
        leaves=leaves,
    )


def _leaf(path: str, tensor: torch.Tensor, file: str) -> LeafEntry:
    return LeafEntry(
        file=file,
        dtype=dtype_name(tensor, path),
        shape=list(tensor.shape),
        digest=tensor_digest(tensor),
    )


def _file(path: Path) -> FileEntry:
    return FileEntry(size=path.stat().st_size, digest=file_digest(path))


def file_digest(path: Path) -> str:
    """Return the XXH3-128 of a file's bytes, read in blocks."""
    whole = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()
