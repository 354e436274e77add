"""The commit: a checkpoint exists or it doesn't.

1. All files are written into a directory with a temporary name, each fsynced.
2. The manifest, with the digests of what was captured, is written last; the directory is fsynced.
3. One rename gives the directory its name; its parent is fsynced.
4. `latest` is replaced the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import EVIDENCE, FACTS, MANIFEST, STATE, Layout, checkpoint_name
from unbroken.checkpoint.manifest import (
    FORMAT,
    FileEntry,
    LeafEntry,
    Manifest,
    read_manifest,
)
from unbroken.checkpoint.tensor_file import write_tensors
from unbroken.errors import CheckpointCorrupt, SaveFailed
from unbroken.state.codec import encode
from unbroken.state.digest import file_digest, tensor_digest
from unbroken.state.dtypes import dtype_name
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
        replaced = _make_way(layout, target, snapshot.run_id)
        disk.rename(aside, target)
        disk.replace_file(layout.latest, f"{target.name}\n".encode())
        disk.remove_tree(replaced)
    except OSError as error:
        _forget(aside)
        raise SaveFailed(
            f"Checkpoint {target} could not be written: {error}.",
            "The work since the last checkpoint is at risk; the last one is untouched.",
            "Free space on the disk, or check its permissions.",
        ) from error
    return target


def replaced_name(name: str) -> str:
    """Return the hidden name of a checkpoint while the same position is saved once more."""
    return f".{name}.replaced"


def _make_way(layout: Layout, target: Path, run_id: str) -> Path:
    """Clear the name of a checkpoint; return what may be deleted once the new one stands there.

    A death before the new one has the name leaves the old one hidden: `Store` finds it and gives it
    its name back.
    """
    replaced = layout.checkpoints / replaced_name(target.name)
    if not target.exists():
        return replaced
    try:
        ours = read_manifest(target).run_id == run_id
    except CheckpointCorrupt:
        ours = False
    if ours:
        disk.remove_tree(replaced)
        disk.rename(target, replaced)
    else:
        set_aside(layout, target)
    return replaced


def _forget(aside: Path) -> None:
    """Give the space of a failed save back, if the disk lets us; the next start sweeps otherwise."""
    with contextlib.suppress(OSError):
        disk.remove_tree(aside)


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
