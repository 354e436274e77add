"""Durable operations on the disk: new files, atomic replacements, renames, removals, appends.

A file is durable when it was fsynced; its name is durable when its directory was. All operations
consist of the calls of one `System`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from unbroken.checkpoint.system import Bytes, System, can_write_past_the_cache

BLOCK = 8 << 20
"""Bytes per write; a multiple of every page size in use."""

REFUSED = (errno.EINVAL, errno.ENOTSUP)
"""Errors of a filesystem that doesn't support writes past the cache."""

system = System()
"""Makes the system calls; `unbroken.testing` replaces it to record calls or to inject failures."""


def make_directory(path: Path) -> None:
    """Create a directory with its parents, durably; it may exist."""
    if path.is_dir():
        return
    make_directory(path.parent)
    make_new_directory(path)
    sync_directory(path.parent)


def make_new_directory(path: Path) -> None:
    """Create a directory in an existing one; its name is durable once its parent is fsynced."""
    try:
        system.make_directory(path)
    except FileExistsError:  # another process may have been faster
        if not path.is_dir():
            raise


def write_new_file(path: Path, chunks: Iterable[Bytes], *, durable: bool = True) -> None:
    """Write a file that must not exist; fsync it if `durable`."""
    descriptor = system.create(path)
    try:
        for chunk in chunks:
            _write_all(descriptor, memoryview(chunk))
        if durable:
            system.sync(descriptor)
    finally:
        system.close(descriptor)


def write_new_image(path: Path, padded: memoryview, size: int) -> None:
    """Write a file that must not exist from page-aligned memory, and fsync it.

    It is written past the system's cache if the filesystem supports that: this is faster, and
    doesn't evict the training's data from the cache.

    Args:
        path: The file.
        padded: Its bytes, padded to whole pages.
        size: Size of the file in bytes.
    """
    descriptor, content = _open_new(path), padded[:size]
    if descriptor is None:
        write_new_file(path, [content])
        return
    try:
        _write_all(descriptor, padded)
        system.truncate(descriptor, size)
        system.sync(descriptor)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        system.unlink(path)  # the filesystem needs another alignment than pages
        write_new_file(path, [content])
    finally:
        system.close(descriptor)


def _open_new(path: Path) -> int | None:
    """Create a file to write past the cache; None if that is not supported."""
    if not can_write_past_the_cache():
        return None
    try:
        return system.create(path, direct=True)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        if path.exists():  # some filesystems create the file, then refuse the flag
            system.unlink(path)
        return None


def _write_all(descriptor: int, data: memoryview) -> None:
    written = 0
    while written < len(data):
        written += system.write(descriptor, data[written : written + BLOCK])


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable that somebody else has written."""
    descriptor = system.open_to_append(path)
    try:
        system.sync(descriptor)
    finally:
        system.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    system.sync_directory(path)


def rename(source: Path, target: Path) -> None:
    """Rename durably; an existing file is replaced, a non-empty directory is not."""
    system.rename(source, target)
    sync_directory(target.parent)  # first, so that the new name exists before the old one is gone
    if source.parent != target.parent:
        sync_directory(source.parent)


@contextlib.contextmanager
def replacing(path: Path, aside: Path | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Yield the path of a new file, which atomically replaces another one at the end of the block.

    A reader sees the old or the new file. If the block fails, the new file is removed.

    Args:
        path: The file to replace; it need not exist.
        aside: Path of the new file, in the same directory; None for a hidden name of this
            process. A file left there by an interruption is removed.
        durable: Whether to make its name durable. The block has to make its bytes durable.
    """
    aside = aside or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if os.path.lexists(aside):
        system.unlink(aside)
    try:
        yield aside
        (rename if durable else system.rename)(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.unlink(aside)
        raise


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a small file atomically; unless `durable`, nothing is fsynced."""
    with replacing(path, durable=durable) as aside:
        write_new_file(aside, [content], durable=durable)


@contextlib.contextmanager
def atomic_write(path: Path, aside: Path | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Replace a file atomically: readers, also after a power cut, see the old or the new file.

    Yields the path of a new file to write. At the end of the block it is flushed to the device and
    replaces the old one; if the block fails, it is removed.

    Args:
        path: The file to replace; neither it nor its directory need exist.
        aside: Path of the new file, in the same directory; None for a hidden name of this
            process. A file left there by an interruption is removed.
        durable: Whether to flush it. Otherwise a power cut may leave a torn file.
    """
    make_directory(path.parent)
    with replacing(path, aside, durable=durable) as new:
        yield new
        if durable:
            sync_file(new)


def remove_tree(path: Path) -> None:
    """Delete a directory with its content; of a link only the link. It need not exist."""
    if path.is_symlink() or path.is_file():
        system.unlink(path)
        return
    if not path.exists():
        return
    for each in sorted(path.iterdir()):
        if each.is_dir() and not each.is_symlink():
            remove_tree(each)
        else:
            system.unlink(each)
    system.remove_directory(path)


class AppendFile:
    """An append-only file of lines; each line is written with one system call.

    Its directory must exist, so that one that was moved away is not created again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            system.close(system.create(path))
            sync_directory(path.parent)
        self._descriptor = system.open_to_append(path)

    def cut_torn_tail(self) -> int:
        """Truncate an unfinished last line; return its number of bytes."""
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
            system.truncate(self._descriptor, whole)
        return size - whole

    def append(self, line: bytes) -> None:
        """Append one complete line.

        Raises:
            OSError: The line can't be written; a partial line was truncated again.
        """
        whole = line + b"\n"
        written = system.write(self._descriptor, whole)
        if written != len(whole):
            system.truncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def sync(self) -> None:
        """Flush the lines to the device."""
        system.sync(self._descriptor)

    def close(self) -> None:
        """Flush the lines to the device and close the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                system.sync(descriptor)
            finally:
                system.close(descriptor)
