"""A second look at a checkpoint that was found damaged, past the system's cache.

A bit may have flipped in memory and not on the device; a file may be unreadable only for now. Only
what the device itself holds wrongly is moved away, and that by the training alone.
"""

from __future__ import annotations

import time
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.device_read import drop_from_cache
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint


def read_again(path: Path, run_id: str) -> Checkpoint | None:
    """Return a checkpoint of a run that is whole on a second reading; None where it isn't ours.

    Raises:
        CheckpointCorrupt: It is damaged; on the device, not only in memory.
    """
    for each in path.iterdir() if path.is_dir() else ():
        if each.is_file() and not each.is_symlink():
            drop_from_cache(each)
    checkpoint = Checkpoint.at(path)
    if checkpoint.manifest.run_id != run_id:
        return None
    checkpoint.verify()
    return checkpoint


def quarantine(layout: Layout, checkpoint: Path, reason: str) -> Path:
    """Move a damaged checkpoint to `quarantine/`, the reason beside it; return where to."""
    disk.make_directory(layout.quarantine)
    place = layout.quarantine / f"{checkpoint.name.lstrip('.')}.{time.time_ns()}"
    disk.replace_file(place.with_name(f"{place.name}.reason.txt"), f"{reason}\n".encode())
    disk.rename(checkpoint, place)
    return place
