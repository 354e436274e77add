"""Reading past the system's cache, where the system lets us.

What is read back from the cache proves nothing about the device: after an fsync the system would
answer from the very memory it wrote from.
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

    They are read past the cache; where that can't be done, the system is asked to drop them from its cache first;
    where that can't be done either, they come from the cache and the answer says so.

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
    """Let the system forget what it holds of a file, where it lets us; the next read is a new one.

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
    # Training goes on beside it. One thread stays on the one core that is left over; where none
    # is, two take no more from the training than one does, and are done sooner.
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
