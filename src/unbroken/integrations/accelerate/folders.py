"""The folders that `accelerator.save_state()` writes: durable, and complete or known not to be.

Accelerate writes in place and flushes nothing. A mark is in the folder while it is written; afterwards
every file is flushed and read back, and a list of digests takes the place of the mark.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from unbroken.checkpoint import disk
from unbroken.errors import CheckpointCorrupt
from unbroken.integrations.listed_folder import LIST, fault_in, listed_in, seal

_log = logging.getLogger("unbroken")

INCOMPLETE: Final = "unbroken_incomplete"
"""Is there while a folder is written."""


def begin(folder: Path) -> None:
    """Mark a folder as incomplete, before anything else is written into it."""
    disk.make_directory(folder)
    disk.remove_tree(folder / LIST)
    disk.replace_file(folder / INCOMPLETE, b"")


def complete(folder: Path) -> None:
    """Flush all that was written into a folder, read it back, and list it in place of the mark.

    Raises:
        SaveFailed: Other bytes were read back; the folder counts as incomplete.
        OSError: The disk refused; likewise.
    """
    seal(folder, mark=INCOMPLETE)


def verify(folder: Path) -> None:
    """Refuse a folder that is not whole; one that was not written under protection passes.

    Raises:
        CheckpointCorrupt: It was never finished, or a file is missing or damaged.
    """
    if (folder / INCOMPLETE).exists():
        raise _damaged(folder, "it was never finished: the program ended while it was saved")
    if not (folder / LIST).is_file():
        return
    try:
        files = listed_in(folder)
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{LIST} can't be read: {error}") from error
    if fault := fault_in(folder, files):
        raise _damaged(folder, " ".join(fault))


def newest_whole(place: Path) -> Path | None:
    """Return the folder with the highest number among those that are whole; None where none is."""
    numbered = [each for each in place.glob("checkpoint_*") if each.name[11:].isdigit()]
    for folder in sorted(numbered, key=lambda each: int(each.name[11:]), reverse=True):
        if (folder / LIST).is_file():
            try:
                verify(folder)
            except CheckpointCorrupt as error:
                _log.warning("%s", error.what)
            else:
                return folder
    return None


def _damaged(folder: Path, why: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{folder} is not whole: {why}.",
        "A training that goes on from it would be another one. Nothing was loaded.",
        "Load another folder; the run itself resumes from its own checkpoints.",
    )
