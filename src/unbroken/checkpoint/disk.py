"""Every call that changes the disk, so that what can be interrupted stands in one place.

A file is durable when its bytes were flushed and fsynced; its name is durable when its directory
was. On Windows a directory can't be opened for fsync, and NTFS journals names by itself.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

Bytes = bytes | bytearray | memoryview

BLOCK = 8 << 20
"""Bytes of one write; a multiple of every page size in use."""


def make_directory(path: Path) -> None:
    """Create a directory with its parents; an existing one is fine."""
    path.mkdir(parents=True, exist_ok=True)


def write_new_file(path: Path, chunks: Iterable[Bytes]) -> None:
    """Write a file that must not exist, and fsync it."""
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        sync(file.fileno())


def write_new_image(path: Path, padded: memoryview, size: int) -> None:
    """Write a file that must not exist from memory that begins at a page, and fsync it.

    It is written past the system's cache where the filesystem lets us: that is faster, and it
    doesn't push the training's own data out of memory.

    Args:
        path: The file.
        padded: Its bytes and the rest of their last page.
        size: How many of them are the file's.
    """
    descriptor, content = _open_new(path), padded[:size]
    if descriptor is None:
        write_new_file(path, (content[at : at + BLOCK] for at in range(0, size, BLOCK)))
        return
    try:
        written = 0
        while written < len(padded):
            written += os.write(descriptor, padded[written : written + BLOCK])
        os.ftruncate(descriptor, size)
        sync(descriptor)
    finally:
        os.close(descriptor)


def _open_new(path: Path) -> int | None:
    """Create a file to be written past the cache; None where that is not to be had."""
    direct: int = getattr(os, "O_DIRECT", 0)
    if not direct:
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | direct, 0o644)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)  # some filesystems create the file, then refuse the flag
        return None


def sync(descriptor: int) -> None:
    """Bring a file's bytes to the device, through its cache where the system lets us."""
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415  # not on Windows

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename and make both names durable; a file in the way is replaced, a full directory is not."""
    os.replace(source, target)  # noqa: PTH105  # the call whose guarantees are documented
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file as a whole: a reader sees the old one or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.unlink(missing_ok=True)
    write_new_file(aside, [content])
    rename(aside, path)


def remove_tree(path: Path) -> None:
    """Delete a directory and what is in it; one that is gone already is fine."""
    shutil.rmtree(path, ignore_errors=False) if path.exists() else None


class AppendFile:
    """A file of lines that is only added to; each line reaches the system in one call."""

    def __init__(self, path: Path) -> None:
        make_directory(path.parent)
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o644)

    def cut_torn_tail(self) -> int:
        """Cut off what follows the last newline, left by a death in mid-line; return its bytes."""
        size = os.fstat(self._descriptor).st_size
        whole = size
        block = 1 << 16
        while whole > 0:
            start = max(0, whole - block)
            os.lseek(self._descriptor, start, os.SEEK_SET)
            data = os.read(self._descriptor, whole - start)
            found = data.rfind(b"\n")
            if found >= 0:
                whole = start + found + 1
                break
            whole = start
        if whole < size:
            os.ftruncate(self._descriptor, whole)
        return size - whole

    def append(self, line: bytes) -> None:
        """Add one whole line.

        Raises:
            OSError: The disk took none of it, or only a part, which was taken back.
        """
        whole = line + b"\n"
        written = os.write(self._descriptor, whole)
        if written != len(whole):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def sync(self) -> None:
        """Bring the lines to the device."""
        sync(self._descriptor)

    def close(self) -> None:
        """Bring the lines to the device and close the file."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1
