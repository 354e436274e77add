"""The system calls that change the disk; everything in `disk` consists of them.

No other module of the library makes them (a test reads the source). So recording these calls records
every change of the disk, and a failing call simulates a failing disk: `unbroken.testing` does both.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

if sys.platform == "darwin":
    import fcntl

Bytes = bytes | bytearray | memoryview

_BINARY: int = getattr(os, "O_BINARY", 0)
_DIRECT: int = getattr(os, "O_DIRECT", 0)


class System:
    """The calls of this operating system; each method is one call, or none if it doesn't exist."""

    def make_directory(self, path: Path) -> None:
        """Create a directory that must not exist."""
        os.mkdir(path)  # noqa: PTH102  # the call itself

    def create(self, path: Path, *, direct: bool = False) -> int:
        """Create a file that must not exist and return its descriptor.

        Args:
            path: The file.
            direct: Writes bypass the system's cache and consist of whole pages of aligned memory.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        return os.open(path, flags | (_DIRECT if direct else 0), 0o644)

    def open_to_append(self, path: Path) -> int:
        """Open an existing file to append to it."""
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY)

    def write(self, descriptor: int, data: Bytes) -> int:
        """Write at the current end; return the number of bytes written."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Truncate a file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Flush a file to the device, including the device's cache if the system supports it."""
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable.

        On Windows a directory can't be opened for this, and NTFS journals names itself; some network
        filesystems don't support the call.
        """
        if sys.platform == "win32":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename; an existing file is replaced, a non-empty directory is not."""
        os.replace(source, target)  # noqa: PTH105  # the call whose guarantees are documented

    def unlink(self, path: Path) -> None:
        """Unlink a file."""
        os.unlink(path)  # noqa: PTH108  # the call itself

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)  # noqa: PTH106  # the call itself


def can_write_past_the_cache() -> bool:
    """Return whether the system supports such writes; a filesystem may still refuse them."""
    return bool(_DIRECT)
