"""Reading past the system's cache, where the system lets us.

What is read back from the cache proves nothing about the device: after an fsync the system would
answer from the very memory it wrote from.
"""

from __future__ import annotations

import contextlib
import os
import sys
from io import FileIO
from pathlib import Path

from unbroken.checkpoint.block_digest import block_digest

_DIRECT: int = getattr(os, "O_DIRECT", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)


def device_digest(path: Path) -> tuple[str, bool]:
    """Return the XXH3-128 of a file's bytes, and whether they were read from the device.

    They are read past the cache; where that can't be done, the cache is told to drop them first;
    where that can't be done either, they come from the cache and the answer says so.
    """
    with contextlib.suppress(OSError):
        if _DIRECT:
            return _digest(os.open(path, os.O_RDONLY | _DIRECT)), True
    descriptor = os.open(path, os.O_RDONLY | _BINARY)
    dropped = _drop_from_cache(descriptor)
    return _digest(descriptor), dropped


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


def _digest(descriptor: int) -> str:
    # One reader: the device is what takes the time, and training goes on beside it.
    with FileIO(descriptor) as file:
        return block_digest([file], os.fstat(descriptor).st_size)


def _drop_from_cache(descriptor: int) -> bool:
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415  # not on Windows

        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
        return True
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return True
    return False
