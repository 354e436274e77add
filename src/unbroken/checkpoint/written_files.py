"""Writes the files of a checkpoint into a directory, and reads each of them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unbroken.checkpoint import disk
from unbroken.checkpoint.device_read import device_digests
from unbroken.checkpoint.document import require_readable
from unbroken.checkpoint.file_image import FileImage
from unbroken.checkpoint.formats import (
    FileWithHeader,
    LeafEntry,
    Manifest,
    PlacedLeaf,
    new_manifest,
)
from unbroken.checkpoint.layout import MANIFEST
from unbroken.checkpoint.segment import Segment, told_apart, whole_file
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.errors import SaveFailed


def write_files(
    aside: Path, copied: HostSnapshot, of_ranks: Callable[[], dict[str, Any]] = dict
) -> Manifest:
    """Write the files of a snapshot and read them back; return their manifest, which isn't written.

    Args:
        aside: The directory.
        copied: The snapshot.
        of_ranks: Returns what the manifest says of other processes, once the files are written.

    Raises:
        SaveFailed: Other bytes were read back, or the copy is not what was captured.
        OSError: The disk can't be written.
    """
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
        **of_ranks(),
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


def close(aside: Path, manifest: Manifest) -> str:
    """Write the manifest of a directory whose files are there; return the digest of its bytes."""
    written = manifest.to_bytes()
    require_readable({MANIFEST: written})
    disk.write_new_file(aside / MANIFEST, [written])
    whole = whole_file(written)
    _read_back(aside / MANIFEST, whole)
    disk.sync_directory(aside)
    return whole[0].digest


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
