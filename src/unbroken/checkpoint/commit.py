"""The commit: a checkpoint exists or it doesn't.

1. All files are written into a directory with a temporary name, each fsynced and read back from
   the device.
2. The manifest, with the digests of what was captured, is written last; the directory is fsynced.
3. One rename gives the directory its name; its parent is fsynced.
4. `latest` is replaced the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.device_read import device_digests
from unbroken.checkpoint.document import require_readable
from unbroken.checkpoint.file_image import FileImage, HostCopy
from unbroken.checkpoint.formats import (
    FORMAT,
    FileWithHeader,
    LeafEntry,
    Manifest,
    Manifest2,
    PlacedLeaf,
)
from unbroken.checkpoint.late_copy import LateCopy
from unbroken.checkpoint.latest import name_latest
from unbroken.checkpoint.layout import EVIDENCE, FACTS, MANIFEST, STATE, Layout, checkpoint_name
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.segment import Segment, told_apart, whole_file
from unbroken.errors import CheckpointCorrupt, SaveFailed
from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digests
from unbroken.state.dtypes import dtype_name
from unbroken.state.position import Position

SPACE_RESERVE = 1 << 20
"""Bytes left free beside a checkpoint, for its manifest and the journal."""


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
    only_updated: Collection[str] = ()
    """Leaves that nothing but an update of an optimiser changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A snapshot that training on can't change: its tensors copied, the rest written as text."""

    run_id: str
    start: int
    position: Position
    metrics: dict[str, float]
    documents: dict[str, bytes]
    """State, facts and evidence as JSON, by file name."""
    images: dict[str, FileImage]
    """Tensor files as they will lie on the disk, by name."""
    leaves: dict[str, tuple[str, str, list[int]]]
    """File, dtype and shape of every tensor."""
    late: LateCopy
    """Copies that are still to be made before `images` is complete."""
    live: Mapping[str, str] = field(default_factory=dict)
    """Digests of the live tensors at the capture, where they were made to prove the copy."""

    @property
    def size(self) -> int:
        """Bytes that the checkpoint will take, without its manifest."""
        return sum(map(len, self.documents.values())) + sum(i.size for i in self.images.values())


def tensor_files(
    parts: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """Return the parts in the codec's form, and their tensors by file name and leaf path.

    Raises:
        NotEncodable: A part holds something that has no faithful form.
    """
    state: dict[str, Any] = {}
    files: dict[str, dict[str, torch.Tensor]] = {}
    for part, value in parts.items():
        tensors: dict[str, torch.Tensor] = {}
        state[part] = encode(value, part, tensors)
        if tensors:
            files[f"{part}.safetensors"] = tensors
    return state, files


def copy_to_host(
    snapshot: Snapshot, host: HostCopy, *, prove: bool = False, overlap: bool = False
) -> HostSnapshot:
    """Take a snapshot into host memory; it is complete when this returns, but for `late`.

    Args:
        snapshot: The state; its tensors are the live ones.
        host: Memory that is used again by every save; what it held before is overwritten.
        prove: Digest the live tensors too, for `commit` to compare what it writes with.
        overlap: Leave what only updates change to be copied later, behind a fence.

    Raises:
        NotEncodable: The state holds something that has no faithful form.
    """
    state, files = tensor_files(snapshot.parts)
    documents = {
        STATE: {"position": snapshot.position.state_dict(), "parts": state},
        FACTS: encode(dict(snapshot.facts), "facts", {}),
        EVIDENCE: encode(dict(snapshot.evidence), "evidence", {}),
    }
    images, late = host.capture(files, snapshot.only_updated if overlap else ())
    return HostSnapshot(
        run_id=snapshot.run_id,
        start=snapshot.start,
        position=snapshot.position,
        metrics=dict(snapshot.metrics),
        documents={name: _as_json(each) for name, each in documents.items()},
        images=images,
        leaves={
            leaf: (name, dtype_name(each, leaf), list(each.shape))
            for name, tensors in files.items()
            for leaf, each in tensors.items()
        },
        late=late,
        live=tensor_digests(dict(ChainMap(*files.values()))) if prove else {},
    )


def commit(
    layout: Layout,
    copied: HostSnapshot,
    require_ours: Callable[[], None] = lambda: None,
    *,
    keeps_replaced: bool = False,
) -> Path:
    """Write a snapshot in host memory as a checkpoint and make it durable and visible.

    Args:
        layout: The run's directory.
        copied: What to write.
        require_ours: Called first, and again just before the rename; raises where another process owns the run.
        keeps_replaced: Whether a checkpoint of the same position is kept, in `superseded/`.

    Returns:
        The checkpoint's directory.

    Raises:
        SaveFailed: The disk refused, or it could not be read again; whatever was visible before is
            untouched.
    """
    target = layout.checkpoints / checkpoint_name(copied.position)
    aside = layout.checkpoints / f".{target.name}.{os.getpid()}.tmp"
    require_readable(copied.documents)
    try:
        require_ours()  # a directory that was moved away is not created again
        disk.make_directory(layout.checkpoints)
        _require_space(layout, copied.size)
        disk.remove_tree(aside)
        disk.make_new_directory(aside)
        manifest = _write_files(aside, copied).to_bytes()
        require_readable({MANIFEST: manifest})
        disk.write_new_file(aside / MANIFEST, [manifest])
        _read_back(aside / MANIFEST, whole_file(manifest))
        disk.sync_directory(aside)
        require_ours()
        replaced = _make_way(layout, target, copied.run_id)
        disk.rename(aside, target)
        if keeps_replaced and replaced.exists():
            set_aside(layout, replaced, target.name)
        name_latest(layout, target.name)
        disk.remove_tree(replaced)
    except OSError as error:
        _forget(aside)
        raise SaveFailed(
            f"Checkpoint {target} could not be written: {error}.",
            "The work since the last checkpoint is at risk; the last one is untouched.",
            "Free space on the disk, or check its permissions.",
        ) from error
    except SaveFailed:
        _forget(aside)
        raise
    return target


def _require_space(layout: Layout, size: int) -> None:
    free = shutil.disk_usage(layout.checkpoints).free
    if free < size + SPACE_RESERVE:
        raise SaveFailed(
            f"A checkpoint needs {size / 1e6:.1f} MB, and {SPACE_RESERVE / 1e6:.1f} MB must stay free "
            f"beside it; {layout.checkpoints} has {free / 1e6:.1f} MB free.",
            "The save would fail half-way, so it was not started; the last checkpoint is untouched.",
            "Free space on the disk, or keep fewer checkpoints.",
        )


def replaced_name(name: str) -> str:
    """Return the hidden name of a checkpoint while the same position is saved once more."""
    return f".{name}.replaced"


def _make_way(layout: Layout, target: Path, run_id: str) -> Path:
    """Clear the name of a checkpoint; return what may be deleted once the new one is there.

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
    """Free the space of a failed save if the disk allows it; else the next start does."""
    with contextlib.suppress(OSError):
        disk.remove_tree(aside)


def set_aside(layout: Layout, checkpoint: Path, name: str = "") -> Path:
    """Move a checkpoint out of the line of this run without deleting it; return where to.

    Args:
        layout: The run's directory.
        checkpoint: The directory to move.
        name: What it is called there, where its present name is a hidden one.
    """
    disk.make_directory(layout.superseded)
    place = layout.superseded / f"{name or checkpoint.name}.{time.time_ns()}"
    disk.rename(checkpoint, place)
    return place


def _write_files(aside: Path, copied: HostSnapshot) -> Manifest:
    written: dict[str, list[Segment]] = {}
    from_device = True
    for name, image in copied.images.items():
        written[name] = _write_image(aside / name, image)
        from_device &= _read_back(aside / name, written[name])
    for name, text in copied.documents.items():
        disk.write_new_file(aside / name, [text])
        written[name] = whole_file(text)
        from_device &= _read_back(aside / name, written[name])
    placed = {each.leaf: each for segments in written.values() for each in segments}
    leaves = {
        leaf: PlacedLeaf(
            file=file,
            begin=placed[leaf].begin,
            dtype=dtype,
            shape=shape,
            digest=placed[leaf].digest,
        )
        for leaf, (file, dtype, shape) in copied.leaves.items()
    }
    _require_captured(copied.live, leaves)
    return Manifest2(
        format=FORMAT,
        run_id=copied.run_id,
        start=copied.start,
        created=time.time(),
        position=copied.position.state_dict(),
        metrics=copied.metrics,
        verified_from="device" if from_device else "cache",
        files={
            name: FileWithHeader(size=each[-1].end, head=each[0].size, digest=each[0].digest)
            for name, each in written.items()
        },
        leaves=leaves,
    )


def _write_image(path: Path, image: FileImage) -> list[Segment]:
    """Write a tensor file; return its segments with their digests.

    They are made while the device writes, which needs no processor.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="unbroken-digest") as beside:
        digests = beside.submit(image.digests)
        disk.write_new_image(path, image.padded(), image.size)
        return digests.result()


def _require_captured(live: Mapping[str, str], written: Mapping[str, LeafEntry]) -> None:
    """Refuse a copy that is of no instant: something reached it, or the tensor, meanwhile."""
    changed = [leaf for leaf, digest in live.items() if written[leaf].digest != digest]
    if changed:
        raise SaveFailed(
            f"The copy of {changed[0]} is not the tensor that was live at the save.",
            "Something changed the one while it was copied, or the other before it was written; "
            "the checkpoint would be of no instant, and was not made visible.",
            "Let nothing but the training thread change the state.",
        )


def _read_back(path: Path, segments: Sequence[Segment]) -> bool:
    """Compare what the device holds with what was to be written; say whether it was the device."""
    found, from_device = device_digests(path, [each.size for each in segments])
    what = told_apart(path.name, segments, found)
    if what is not None or path.stat().st_size != segments[-1].end:
        raise SaveFailed(
            f"{path} was written, but other bytes were read back: {what or 'its size differs'}.",
            "The device or the system corrupts data; this checkpoint was not made visible.",
            "Check the disk, or save to another one.",
        )
    return from_device


def _as_json(document: Any) -> bytes:
    # Without an indent: with one, Python's slow encoder would hold the training thread.
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
