"""Verifying: every byte of a file against the size and digest that the manifest says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from unbroken.checkpoint.block_digest import BLOCK, block_digest
from unbroken.errors import CheckpointCorrupt, CheckpointUnreadable

if TYPE_CHECKING:
    from unbroken.checkpoint.manifest import FileEntry

READERS = 2
"""Threads that read a large file; one alone doesn't keep a device or the system's cache busy."""


def verify_file(
    checkpoint: Path, name: str, entry: FileEntry, moved: Callable[[int], None] = lambda _n: None
) -> Path:
    """Read a file of a checkpoint in blocks and compare it with the manifest; return its path.

    Args:
        checkpoint: The checkpoint's directory.
        name: The file's name in it.
        entry: What the manifest says.
        moved: Told of the bytes read since it was last told.

    Raises:
        CheckpointUnreadable: The system can't read it.
        CheckpointCorrupt: It is missing, a link, of another size, or has other bytes.
    """
    path = checkpoint / name
    try:
        if path.is_symlink() or not path.is_file():
            raise damaged(checkpoint, f"{name} is missing")
        size = path.stat().st_size
        if size != entry.size:
            raise damaged(checkpoint, f"{name} has {size} bytes, not {entry.size}")
        if _digest(path, entry.size, moved) != entry.digest:
            raise damaged(checkpoint, f"the bytes of {name} are not the ones that were saved")
    except OSError as error:
        raise unreadable(checkpoint, f"{name} can't be read: {error}") from error
    return path


def _digest(path: Path, size: int, moved: Callable[[int], None]) -> str:
    readers = READERS if size > BLOCK else 1
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb", buffering=0)) for _ in range(readers)]
        return block_digest(files, size, moved)


def damaged(checkpoint: Path, what: str) -> CheckpointCorrupt:
    """Return the error of a checkpoint whose bytes are not those that were saved."""
    return CheckpointCorrupt(
        f"Checkpoint {checkpoint} is damaged: {what}.",
        "Loading it would continue from a state that no training ever had.",
        "Use --resume auto, which takes the newest checkpoint that is whole.",
    )


def unreadable(checkpoint: Path, what: str) -> CheckpointUnreadable:
    """Return the error of a checkpoint that can't be read, whatever its bytes are."""
    return CheckpointUnreadable(
        f"Checkpoint {checkpoint} can't be read: {what}.",
        "Whether it is whole can't be told; it is left where it is.",
        "Check the disk and the permissions, and try again.",
    )
