"""Commits a checkpoint atomically: it exists completely or not at all.

1. All files are written to a directory with a temporary name; each is fsynced and read back from
   the device.
2. The manifest, with the digests of the captured state, is written last; the directory is fsynced.
3. One rename gives the directory its final name; its parent is fsynced.
4. `latest` is replaced in the same way.
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
    FileWithHeader,
    LeafEntry,
    Manifest,
    PlacedLeaf,
    new_manifest,
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
"""Bytes to leave free beside a checkpoint, for its manifest and the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run's state at one instant."""

    run_id: str
    start: int
    position: Position
    parts: Mapping[str, Any]
    """The state by part; the tensors may be the live ones while training is paused."""
    facts: Mapping[str, Any]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    only_updated: Collection[str] = ()
    """Leaves that only an update of an optimiser changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A snapshot that is independent of the live state: tensors copied, the rest encoded."""

    run_id: str
    start: int
    position: Position
    metrics: dict[str, float]
    documents: dict[str, bytes]
    """State, facts and evidence as JSON, by file name."""
    images: dict[str, FileImage]
    """The content of the tensor files, by name."""
    leaves: dict[str, tuple[str, str, list[int], str | None]]
    """File, dtype, shape, and the device if it isn't the host, of every tensor."""
    late: LateCopy
    """Copies that are still to be made before `images` is complete."""
    live: Mapping[str, str] = field(default_factory=dict)
    """Digests of the live tensors at the capture, if they were computed to verify the copy."""

    @property
    def size(self) -> int:
        """Size of the checkpoint in bytes, without its manifest."""
        return sum(map(len, self.documents.values())) + sum(i.size for i in self.images.values())


def tensor_files(
    parts: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """Return the parts in the codec's form, and their tensors by file name and leaf path.

    Raises:
        NotEncodable: A part contains something that can't be encoded exactly.
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
    """Copy a snapshot into host memory; it is complete on return, except for `late`.

    Args:
        snapshot: The state; its tensors are the live ones.
        host: Memory that every save reuses; its content is overwritten.
        prove: Also compute digests of the live tensors, with which `commit` compares the files.
        overlap: Copy later, behind a fence, what only updates change.

    Raises:
        NotEncodable: The state contains something that can't be encoded exactly.
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
            leaf: (name, dtype_name(each, leaf), list(each.shape), _device_of(each))
            for name, tensors in files.items()
            for leaf, each in tensors.items()
        },
        late=late,
        live=tensor_digests(dict(ChainMap(*files.values()))) if prove else {},
    )


def _device_of(tensor: torch.Tensor) -> str | None:
    return None if tensor.device.type == "cpu" else str(tensor.device)


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
        copied: The snapshot to write.
        require_ours: Called first, and again just before the rename; raises if another process owns the run.
        keeps_replaced: Whether to keep an existing checkpoint of the same position, in `superseded/`.

    Returns:
        The checkpoint's directory.

    Raises:
        SaveFailed: The disk can't be written or read back; whatever was visible before is
            untouched.
    """
    target = layout.checkpoints / checkpoint_name(copied.position)
    aside = layout.checkpoints / f".{target.name}.{os.getpid()}.tmp"
    require_readable(copied.documents)
    try:
        require_ours()  # so that a directory that was moved away is not created again
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
    """Return the hidden name of a checkpoint while the same position is saved again."""
    return f".{name}.replaced"


def _make_way(layout: Layout, target: Path, run_id: str) -> Path:
    """Free the name of a checkpoint; return the path to delete once the new one exists.

    After a kill before the new one has the name, the old one is hidden: `Store` finds it and
    restores its name.
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
    """Delete the files of a failed save if possible; else the next start does."""
    with contextlib.suppress(OSError):
        disk.remove_tree(aside)


def set_aside(layout: Layout, checkpoint: Path, name: str = "") -> Path:
    """Move a checkpoint to `superseded/` without deleting it; return its new path.

    Args:
        layout: The run's directory.
        checkpoint: The directory to move.
        name: Its name there, if its present name is a hidden one.
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
            device=device,
        )
        for leaf, (file, dtype, shape, device) in copied.leaves.items()
    }
    _require_captured(copied.live, leaves)
    return new_manifest(
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

    The digests are computed while the device writes.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="unbroken-digest") as beside:
        digests = beside.submit(image.digests)
        disk.write_new_image(path, image.padded(), image.size)
        return digests.result()


def _require_captured(live: Mapping[str, str], written: Mapping[str, LeafEntry]) -> None:
    """Refuse a copy that is inconsistent because it or its tensor was changed meanwhile."""
    changed = [leaf for leaf, digest in live.items() if written[leaf].digest != digest]
    if changed:
        raise SaveFailed(
            f"The copy of {changed[0]} differs from the live tensor at the save.",
            "Something changed the tensor while it was copied, or the copy before it was written. "
            "The checkpoint would be inconsistent, and was not made visible.",
            "Change the state only in the training thread.",
        )


def _read_back(path: Path, segments: Sequence[Segment]) -> bool:
    """Compare the written file with its digests; return whether it was read from the device."""
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
    # Without indentation, since that needs Python's slow encoder, which blocks the training thread.
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
