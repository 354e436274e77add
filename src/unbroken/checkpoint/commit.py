"""Commits a checkpoint atomically: it exists completely or not at all.

1. All files are written to a directory with a temporary name; each is fsynced and read back from
   the device.
2. The manifest, with the digests of the captured state, is written last; the directory is fsynced.
3. One rename gives the directory its final name; its parent is fsynced.
4. `latest` is replaced in the same way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from unbroken.checkpoint import disk
from unbroken.checkpoint.document import require_readable
from unbroken.checkpoint.latest import name_latest
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.checkpoint.written_files import close, write_files
from unbroken.errors import CheckpointCorrupt, SaveFailed

SPACE_RESERVE = 1 << 20
"""Bytes to leave free beside a checkpoint, for its manifest and the journal."""


class Others(Protocol):
    """The other processes of a run, of which each saves its part of a checkpoint."""

    def begin(self, aside: Path, target: Path, copied: HostSnapshot) -> None:
        """Let them write into the hidden directory."""
        ...

    def written(self) -> dict[str, Any]:
        """Wait for them; return what the manifest says of them.

        Raises:
            SaveFailed: One of them could not save.
        """
        ...


class NoOthers:
    """A run that one process trains."""

    def begin(self, aside: Path, target: Path, copied: HostSnapshot) -> None:
        """Do nothing."""

    def written(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


NO_OTHERS: Final = NoOthers()


def commit(
    layout: Layout,
    copied: HostSnapshot,
    require_ours: Callable[[], None] = lambda: None,
    *,
    keeps_replaced: bool = False,
    others: Others = NO_OTHERS,
) -> Path:
    """Write a snapshot in host memory as a checkpoint and make it durable and visible.

    Args:
        layout: The run's directory.
        copied: The snapshot to write.
        require_ours: Called first, and again just before the rename; raises if another process owns the run.
        keeps_replaced: Whether to keep an existing checkpoint of the same position, in `superseded/`.
        others: The other processes of the run, where there are some.

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
        others.begin(aside, target, copied)
        close(aside, write_files(aside, copied, others.written))
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
