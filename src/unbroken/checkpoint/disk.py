"""What is done to the disk: new files, whole replacements, renames, removals, lines added.

A file is durable when its bytes were flushed and fsynced; its name is durable when its directory
was. All of it is made of the calls of one `System`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from unbroken.checkpoint.system import Bytes, System, can_write_past_the_cache

BLOCK = 8 << 20
"""Bytes of one write; a multiple of every page size in use."""

REFUSED = (errno.EINVAL, errno.ENOTSUP)
"""What a filesystem answers that can't write past the cache, or not in this way."""

system = System()
"""Makes the calls; `unbroken.testing` puts one in its place that records them, or fails."""


def make_directory(path: Path) -> None:
    """Create a directory with its parents, durably; an existing one is fine."""
    if path.is_dir():
        return
    make_directory(path.parent)
    make_new_directory(path)
    sync_directory(path.parent)


def make_new_directory(path: Path) -> None:
    """Create a directory in one that exists; its name is durable once its parent was fsynced."""
    try:
        system.make_directory(path)
    except FileExistsError:  # another process may have been faster
        if not path.is_dir():
            raise


def write_new_file(path: Path, chunks: Iterable[Bytes], *, durable: bool = True) -> None:
    """Write a file that must not exist, and fsync it where it is to be durable."""
    descriptor = system.create(path)
    try:
        for chunk in chunks:
            _write_all(descriptor, memoryview(chunk))
        if durable:
            system.sync(descriptor)
    finally:
        system.close(descriptor)


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
        write_new_file(path, [content])
        return
    try:
        _write_all(descriptor, padded)
        system.truncate(descriptor, size)
        system.sync(descriptor)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        system.unlink(path)  # the filesystem wants another alignment than pages
        write_new_file(path, [content])
    finally:
        system.close(descriptor)


def _open_new(path: Path) -> int | None:
    """Create a file to be written past the cache; None where that is not to be had."""
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


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    system.sync_directory(path)


def rename(source: Path, target: Path) -> None:
    """Rename and make both names durable; a file in the way is replaced, a full directory is not."""
    system.rename(source, target)
    sync_directory(target.parent)  # first: the new name is there before the old one is gone
    if source.parent != target.parent:
        sync_directory(source.parent)


@contextlib.contextmanager
def replacing(path: Path, aside: Path | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Give the path of a new file, which takes the place of another one as a whole at the end.

    A reader sees the old one or the new one. Where the block fails, the new one is removed.

    Args:
        path: What is replaced; it need not be there.
        aside: Where the new one is made, in the same directory; None for a hidden name of this
            process. What an interruption left there is removed.
        durable: Whether its name outlives a power cut. Its bytes are the block's business.
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
    """Replace a small file as a whole; where it is not to be durable, nothing is fsynced."""
    with replacing(path, durable=durable) as aside:
        write_new_file(aside, [content], durable=durable)


@contextlib.contextmanager
def atomic_write(path: Path, aside: Path | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Replace a file as a whole: a reader, and who comes after a power cut, sees the old or the new.

    Give the path of a new file to write, in whatever way. At the end of the block it is flushed to the
    device and takes the place of the old one; where the block fails, it is removed.

    Args:
        path: What is replaced; neither it nor its directory need be there.
        aside: Where the new file is made, in the same directory; None for a hidden name of this
            process. What an interruption left there is removed.
        durable: Whether to flush it. Without that a power cut may leave a file that is torn.
    """
    make_directory(path.parent)
    with replacing(path, aside, durable=durable) as new:
        yield new
        if durable:
            descriptor = system.open_to_append(new)
            try:
                system.sync(descriptor)
            finally:
                system.close(descriptor)


def remove_tree(path: Path) -> None:
    """Delete a directory and what is in it; of a link only the link. One gone already is fine."""
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
    """A file of lines that is only added to; each line reaches the system in one call.

    Its directory must exist: one that was moved away is not created again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            system.close(system.create(path))
            sync_directory(path.parent)
        self._descriptor = system.open_to_append(path)

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
            system.truncate(self._descriptor, whole)
        return size - whole

    def append(self, line: bytes) -> None:
        """Add one whole line.

        Raises:
            OSError: The disk took none of it, or only a part, which was taken back.
        """
        whole = line + b"\n"
        written = system.write(self._descriptor, whole)
        if written != len(whole):
            system.truncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def sync(self) -> None:
        """Bring the lines to the device."""
        system.sync(self._descriptor)

    def close(self) -> None:
        """Bring the lines to the device and close the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                system.sync(descriptor)
            finally:
                system.close(descriptor)
