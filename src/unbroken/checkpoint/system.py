"""The calls that change the disk, one by one; everything in `disk` is made of them.

No other module of the library makes them (a test reads the source). So a record of these calls is
a record of all that happened to the disk, and one that fails here is a disk that fails:
`unbroken.testing` does both.
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
    """The calls of this machine's system; each is one call, or none where there is no such thing."""

    def make_directory(self, path: Path) -> None:
        """Create a directory that must not exist."""
        os.mkdir(path)  # noqa: PTH102  # the call itself

    def create(self, path: Path, *, direct: bool = False) -> int:
        """Create a file that must not exist and return its descriptor.

        Args:
            path: The file.
            direct: Writes go past the system's cache: from whole pages of memory, whole pages long.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        return os.open(path, flags | (_DIRECT if direct else 0), 0o644)

    def open_to_append(self, path: Path) -> int:
        """Open a file that exists; what is written goes to its end."""
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY)

    def write(self, descriptor: int, data: Bytes) -> int:
        """Write at the end of what was written; return how many bytes the system took."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file off after `size` bytes."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Bring a file's bytes to the device, through its own cache where the system lets us."""
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable.

        On Windows a directory can't be opened for it, and NTFS journals names by itself; some
        network filesystems know no such call.
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
        """Rename; a file in the way is replaced, a full directory is not."""
        os.replace(source, target)  # noqa: PTH105  # the call whose guarantees are documented

    def unlink(self, path: Path) -> None:
        """Take a file's name away."""
        os.unlink(path)  # noqa: PTH108  # the call itself

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)  # noqa: PTH106  # the call itself


def can_write_past_the_cache() -> bool:
    """Say whether the system knows such writes at all; a filesystem may still refuse them."""
    return bool(_DIRECT)
