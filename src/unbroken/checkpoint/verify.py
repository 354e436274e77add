"""Verifies every byte of a file against its size and digests in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from unbroken.checkpoint.block_digest import BLOCK, READERS, segment_digests
from unbroken.checkpoint.segment import Segment, told_apart
from unbroken.errors import CheckpointCorrupt, CheckpointUnreadable


def verify_file(
    checkpoint: Path,
    name: str,
    segments: Sequence[Segment],
    moved: Callable[[int], None] = lambda _n: None,
) -> Path:
    """Read a file of a checkpoint once, in blocks, and compare it with the manifest; return its path.

    Args:
        checkpoint: The checkpoint's directory.
        name: The file's name in it.
        segments: Its segments, by the manifest.
        moved: Called with the bytes read since its last call.

    Raises:
        CheckpointUnreadable: The system can't read it.
        CheckpointCorrupt: It is missing, a link, of another size, or has other bytes.
    """
    path = checkpoint / name
    try:
        if path.is_symlink() or not path.is_file():
            raise damaged(checkpoint, f"{name} is missing")
        size = path.stat().st_size
        if size != segments[-1].end:
            raise damaged(checkpoint, f"{name} has {size} bytes, not {segments[-1].end}")
        what = told_apart(name, segments, _digests(path, segments, moved))
        if what is not None:
            raise damaged(checkpoint, what)
    except OSError as error:
        raise unreadable(checkpoint, f"{name} can't be read: {error}") from error
    return path


def _digests(path: Path, segments: Sequence[Segment], moved: Callable[[int], None]) -> list[str]:
    readers = range(READERS if segments[-1].end > BLOCK else 1)
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb", buffering=0)) for _ in readers]
        return segment_digests(files, [each.size for each in segments], moved)


def damaged(checkpoint: Path, what: str) -> CheckpointCorrupt:
    """Return the error for a checkpoint with other bytes than saved."""
    return CheckpointCorrupt(
        f"Checkpoint {checkpoint} is damaged: {what}.",
        "Loading it would continue from a state that no training ever had.",
        'Resume with "auto", which takes the newest checkpoint that is not damaged.',
    )


def unreadable(checkpoint: Path, what: str) -> CheckpointUnreadable:
    """Return the error for a checkpoint that can't be read."""
    return CheckpointUnreadable(
        f"Checkpoint {checkpoint} can't be read: {what}.",
        "Whether it is damaged is unknown; it is left where it is.",
        "Check the disk and the permissions, and try again.",
    )
