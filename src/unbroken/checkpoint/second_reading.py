"""Reads a damaged checkpoint a second time, past the system's cache.

A bit may have flipped in memory and not on the device, or a file may be unreadable only temporarily.
Only checkpoints that are damaged on the device are moved away, and only by a training.
"""

from __future__ import annotations

import time
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.device_read import drop_from_cache
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint


def read_again(path: Path, run_id: str) -> Checkpoint | None:
    """Return a checkpoint that is undamaged on a second reading; None if it is another run's.

    Raises:
        CheckpointCorrupt: It is damaged on the device, not only in memory.
    """
    for each in path.rglob("*") if path.is_dir() else ():
        if each.is_file() and not each.is_symlink():
            drop_from_cache(each)
    checkpoint = Checkpoint.at(path)
    if checkpoint.manifest.run_id != run_id:
        return None
    checkpoint.verify()
    return checkpoint


def quarantine(layout: Layout, checkpoint: Path, reason: str) -> Path:
    """Move a damaged checkpoint to `quarantine/`, with the reason beside it; return its new path."""
    disk.make_directory(layout.quarantine)
    place = layout.quarantine / f"{checkpoint.name.lstrip('.')}.{time.time_ns()}"
    disk.replace_file(place.with_name(f"{place.name}.reason.txt"), f"{reason}\n".encode())
    disk.rename(checkpoint, place)
    return place
