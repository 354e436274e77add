"""The folders that `accelerator.save_state()` writes: durable, and complete or known not to be.

Accelerate writes in place and flushes nothing. A mark is in the folder while it is written; afterwards
every file is flushed, and a list of digests takes the place of the mark.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from unbroken.checkpoint import disk
from unbroken.errors import CheckpointCorrupt
from unbroken.state.digest import file_digest

_log = logging.getLogger("unbroken")

DIGESTS: Final = "unbroken_digests.json"
"""Of every file of a folder, by its path inside; written last."""
INCOMPLETE: Final = "unbroken_incomplete"
"""Is there while a folder is written."""


def begin(folder: Path) -> None:
    """Mark a folder as incomplete, before anything else is written into it."""
    disk.make_directory(folder)
    disk.remove_tree(folder / DIGESTS)
    disk.replace_file(folder / INCOMPLETE, b"")


def complete(folder: Path) -> None:
    """Flush all that was written into a folder, and keep its digests.

    Raises:
        OSError: The disk refused; the folder stays marked.
    """
    files = [each for each in _files(folder) if each.name != INCOMPLETE]
    for each in files:
        disk.sync_file(each)
    for each in {folder, *(each.parent for each in files)}:
        disk.sync_directory(each)
    digests = {each.relative_to(folder).as_posix(): file_digest(each) for each in files}
    disk.replace_file(folder / DIGESTS, json.dumps(digests, indent=1).encode())
    disk.remove_tree(folder / INCOMPLETE)
    disk.sync_directory(folder)


def verify(folder: Path) -> None:
    """Refuse a folder that is not whole; one that was not written under protection passes.

    Raises:
        CheckpointCorrupt: It was never finished, or a file is missing or damaged.
    """
    if (folder / INCOMPLETE).exists():
        raise _damaged(folder, "it was never finished: the program ended while it was saved")
    if not (folder / DIGESTS).is_file():
        return
    try:
        known = dict(json.loads((folder / DIGESTS).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, f"{DIGESTS} can't be read: {error}") from error
    for name, digest in known.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        if file_digest(path) != digest:
            raise _damaged(folder, f"{name} is damaged")


def newest_whole(place: Path) -> Path | None:
    """Return the folder with the highest number among those that are whole; None where none is."""
    numbered = [each for each in place.glob("checkpoint_*") if each.name[11:].isdigit()]
    for folder in sorted(numbered, key=lambda each: int(each.name[11:]), reverse=True):
        if (folder / DIGESTS).is_file():
            try:
                verify(folder)
            except CheckpointCorrupt as error:
                _log.warning("%s", error.what)
            else:
                return folder
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file() and each.name != DIGESTS)


def _damaged(folder: Path, why: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{folder} is not whole: {why}.",
        "A training that goes on from it would be another one. Nothing was loaded.",
        "Load another folder; the run itself resumes from its own checkpoints.",
    )
