"""The operating system's own lock on a file: freed by the kernel when the process dies.

On Linux and macOS it is a record lock (`fcntl`), not `flock`: a forked data-loading worker doesn't
inherit it, so workers that outlive a killed training for a moment don't keep its run locked. Such a
lock is also dropped when the process closes *any* descriptor of the file; nothing but this module
opens it. On Windows it is a locked byte.

What is written here says only who is alive: nothing of it has to survive a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from unbroken.checkpoint import disk

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, getattr(errno, "EDEADLOCK", errno.EDEADLK)}
_UNKNOWN = {
    getattr(errno, name, errno.ENOLCK) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")
}


class LockTaken(Exception):
    """Another process holds the lock."""


def lock(path: Path) -> int | None:
    """Take the lock of a file, which is made where it isn't there.

    Returns:
        The descriptor that holds it, or None where the filesystem knows no locks.

    Raises:
        LockTaken: Another process holds it.
        OSError: The file can't be opened.
    """
    while True:
        descriptor = _open(path)
        try:
            _try(descriptor)
            if is_of(descriptor, path):
                return descriptor
        except OSError as error:
            disk.system.close(descriptor)
            if error.errno in _TAKEN:
                raise LockTaken from error
            if error.errno in _UNKNOWN:
                return None
            raise
        disk.system.close(descriptor)  # its holder deleted it between our opening and our locking


def unlock(descriptor: int, path: Path) -> None:
    """Give the lock back and delete its file."""
    if sys.platform == "win32":
        disk.system.close(
            descriptor
        )  # an open file can't be deleted there, and one that others opened too
        remove(path)
    else:
        remove(path)  # first: whoever locks it next must find that it is gone
        disk.system.close(descriptor)


def is_of(descriptor: int, path: Path) -> bool:
    """Say whether a descriptor is of the file that lies at a path now."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _try(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def show_sign_of_life(path: Path) -> None:
    """Make a file one byte longer; its length is what others watch.

    It is opened and closed each time: on a network filesystem that is what others see.
    """
    descriptor = _open(path)
    try:
        disk.system.write(descriptor, b".")
    finally:
        disk.system.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        disk.system.unlink(path)


def _open(path: Path) -> int:
    while True:
        try:
            return disk.system.open_to_append(path)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                return disk.system.create(path)
