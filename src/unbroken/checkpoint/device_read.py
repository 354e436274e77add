"""Reads files past the system's cache, where the system allows it.

Reading back from the cache would prove nothing about the device: after an fsync the system answers
from the memory it wrote from.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from unbroken.checkpoint.block_digest import BLOCK, READERS, segment_digests
from unbroken.cores import spare_cores

if sys.platform == "darwin":
    import fcntl

_DIRECT: int = getattr(os, "O_DIRECT", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)


def device_digests(path: Path, sizes: Sequence[int]) -> tuple[list[str], bool]:
    """Return the XXH3-128 of each segment of a file, and whether it was read from the device.

    They are read past the cache. If that is impossible, the system is asked to drop them from its
    cache first. If that fails too, they come from the cache, and the result says so.

    Args:
        path: The file.
        sizes: Bytes of each of its segments, in their order.

    Raises:
        OSError: It can't be read.
    """
    with contextlib.suppress(OSError):
        if _DIRECT:
            return _digests(path, os.O_RDONLY | _DIRECT, sizes, lambda _descriptor: True)
    return _digests(path, os.O_RDONLY | _BINARY, sizes, _drop_from_cache)


def drop_from_cache(path: Path) -> None:
    """Drop a file from the system's cache if possible, so that the next read is from the device.

    Raises:
        OSError: The file can't be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | _BINARY)
    try:
        _drop_from_cache(descriptor)
    finally:
        os.close(descriptor)


def _digests(
    path: Path, flags: int, sizes: Sequence[int], is_past_cache: Callable[[int], bool]
) -> tuple[list[str], bool]:
    # Training continues meanwhile. With one free core, one thread uses it. With none, two threads
    # slow down the training no more than one, and finish sooner.
    readers = 1 if sum(sizes) <= BLOCK or spare_cores() == 1 else READERS
    with ExitStack() as opened:
        files = [opened.enter_context(FileIO(os.open(path, flags))) for _ in range(readers)]
        past_cache = [is_past_cache(each.fileno()) for each in files]
        return segment_digests(files, sizes), all(past_cache)


def _drop_from_cache(descriptor: int) -> bool:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
        return True
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return True
    return False
