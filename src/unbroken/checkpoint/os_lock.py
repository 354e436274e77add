"""A lock of the operating system on a file, which the kernel releases when the process dies.

On Linux and macOS it is a record lock (`fcntl`), not `flock`: forked data-loading workers don't
inherit it, so workers that briefly outlive a killed training don't keep its run locked. Such a lock is
also released when the process closes *any* descriptor of the file, so only this module opens it. On
Windows it is a locked byte.

The files only show which process is alive; they need not survive a power cut.
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
    """Take the lock of a file, which is created if missing.

    Returns:
        The descriptor with the lock, or None if the filesystem has no locks.

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
        disk.system.close(descriptor)  # its owner deleted it between opening and locking


def unlock(descriptor: int, path: Path) -> None:
    """Release the lock and delete its file."""
    if sys.platform == "win32":
        disk.system.close(
            descriptor
        )  # an open file can't be deleted there, nor one that others have opened
        remove(path)
    else:
        remove(path)  # first, so that whoever locks it next notices that it is gone
        disk.system.close(descriptor)


def is_of(descriptor: int, path: Path) -> bool:
    """Return whether a descriptor belongs to the file that is at a path now."""
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
    """Make a file one byte longer; others watch its length.

    It is opened and closed each time, which makes the change visible on network filesystems.
    """
    descriptor = _open(path)
    try:
        disk.system.write(descriptor, b".")
    finally:
        disk.system.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file; it need not exist."""
    with contextlib.suppress(FileNotFoundError):
        disk.system.unlink(path)


def _open(path: Path) -> int:
    while True:
        try:
            return disk.system.open_to_append(path)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                return disk.system.create(path)
