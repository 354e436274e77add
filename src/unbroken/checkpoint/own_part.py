"""What one of several processes has to store: the tensors that are not, to the bit, the leader's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.file_image import FileImage
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.checkpoint.written_files import close, write_files
from unbroken.errors import SaveFailed
from unbroken.state.dtypes import DTYPES

Stored = Mapping[str, tuple[str, list[int], str]]
"""Dtype, shape and digest of tensors by leaf path."""


def stored_by(copied: HostSnapshot) -> Stored:
    """Return what tells the tensors of a snapshot apart from another process's."""
    digests = _digests(copied)
    return {
        leaf: (dtype, shape, digests[leaf]) for leaf, (_, dtype, shape, _) in copied.leaves.items()
    }


def write_own(directory: Path, copied: HostSnapshot, rank: int, leaders: Stored) -> str:
    """Write what a process that isn't the leader has to store; return its manifest's digest.

    Args:
        directory: Where; it is made.
        copied: All of the process's state.
        rank: Its number.
        leaders: What the leader stores.

    Raises:
        SaveFailed: Other bytes were read back, or the copy is not what was captured.
        OSError: The disk can't be written.
    """
    own = stored_by(copied)
    changed = [leaf for leaf, digest in copied.live.items() if own[leaf][2] != digest]
    if changed:
        raise SaveFailed(
            f"The copy of {changed[0]} on rank {rank} differs from the live tensor at the save.",
            "Something changed the tensor while it was copied. The checkpoint was not made visible.",
            "Change the state only in the training thread.",
        )
    shared = {leaf: each[2] for leaf, each in own.items() if leaders.get(leaf) == each}
    disk.make_new_directory(directory)
    manifest = write_files(
        directory, _without(copied, shared), lambda: {"rank": rank, "shared": shared}
    )
    return close(directory, manifest)


def _digests(copied: HostSnapshot) -> dict[str, str]:
    segments = (each for image in copied.images.values() for each in image.digests())
    return {each.leaf: each.digest for each in segments if each.leaf is not None}


def _without(copied: HostSnapshot, shared: Mapping[str, str]) -> HostSnapshot:
    """Return a snapshot that lacks some tensors."""
    images = {}
    for name, image in copied.images.items():
        own = {
            leaf: _tensor(image, leaf, DTYPES[dtype], shape)
            for leaf, (file, dtype, shape, _) in copied.leaves.items()
            if file == name and leaf not in shared
        }
        if not own:
            continue
        if len(own) < len(image.places):
            image = FileImage(own)  # noqa: PLW2901  # the same file with fewer tensors
            image.capture(own)
        images[name] = image
    leaves = {leaf: each for leaf, each in copied.leaves.items() if leaf not in shared}
    live = {leaf: each for leaf, each in copied.live.items() if leaf not in shared}
    return replace(copied, images=images, leaves=leaves, live=live)


def _tensor(image: FileImage, leaf: str, dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
    """Return a copy of a captured tensor; in an image it may begin at any byte."""
    content = bytearray(image.leaf(leaf))
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=torch.uint8).view(dtype).reshape(shape)
