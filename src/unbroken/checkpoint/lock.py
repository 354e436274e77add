"""The lock of a run's directory, which allows only one writer.

On one host the operating system's lock decides: it ends with the process, however that died. If the
last writer was on another host (on a shared filesystem, whose locks are unreliable), the new one
watches a heartbeat file that a living writer extends, by its own clock. In addition each commit reads
the owner just before its rename: a process that was suspended while another took over notices it and
changes nothing.

Within one process a later run takes over from an earlier one, as when a notebook's cell is run again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.os_lock import (
    LockTaken,
    is_of,
    lock,
    remove,
    show_sign_of_life,
    unlock,
)
from unbroken.errors import DirectoryInUse, OwnerChanged, SaveFailed

PATIENCE_SECONDS = 60.0
"""How long a writer on another host must have no heartbeat before it counts as dead."""

BEAT_SECONDS = 5.0
"""Seconds between two heartbeats."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger("unbroken")

_held: list[WriterLock] = []
"""The locks of this process, since the system would grant it the same lock twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that writes to a run."""

    token: str
    """A new one each time the lock is taken."""
    host: str
    boot: str
    """Identifies the running kernel, if known; containers of one host share it."""
    pid: int
    command: str
    since: float
    """Seconds since 1970, UTC, by the owner's clock."""

    @classmethod
    def present(cls) -> Owner:
        """Return this process as an owner, with a new token."""
        return cls(
            token=uuid.uuid4().hex,
            host=platform.node(),
            boot=_boot(),
            pid=os.getpid(),
            command=" ".join(sys.argv)[:500],
            since=time.time(),
        )

    @property
    def is_here(self) -> bool:
        """Whether it is on this host, where the system's lock is reliable."""
        return self.host == platform.node() or (self.boot != "" and self.boot == _boot())

    def __str__(self) -> str:
        """Return a description of the process and its start."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} (`{self.command}`), since {since}"


def read_owner(layout: Layout) -> Owner | None:
    """Return the last recorded owner of a run; None if there is none or it can't be read."""
    try:
        return Owner(**json.loads(layout.owner_file.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def require_free(layout: Layout) -> None:
    """Check early that no other process of this host writes to a run, without taking the lock.

    Raises:
        DirectoryInUse: Another process does.
    """
    lock_ = WriterLock(layout)
    if layout.lock_file.exists() and not any(each.is_of(layout) for each in _held):
        lock_.probe()


class WriterLock:
    """The right to write to one run's directory.

    Args:
        layout: The run's directory.
        patience_seconds: How long a writer on another host must have no heartbeat.
        beat_seconds: Seconds between two heartbeats.
        clock: A monotonic clock in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.layout = layout
        self.owner: Owner | None = None
        """This process, while it has the lock."""
        self.before_handing_over: Callable[[], object] = lambda: None
        """Called when a later run of this process takes over, to end pending work."""
        self._patience = patience_seconds
        self._beat_seconds = beat_seconds
        self._clock = clock
        self._sleep = sleep
        self._descriptor: int | None = None
        self._over = threading.Event()
        self._beats: threading.Thread | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            DirectoryInUse: Another process has it.
            SaveFailed: The directory can't be written.
        """
        try:
            self._take()
        except OSError as error:
            raise SaveFailed(
                f"{self.layout.root} can't be locked for this run: {error}.",
                "Without the lock another process could write into the same run.",
                "Free space on the disk, or check the permissions of the directory.",
            ) from error

    def _take(self) -> None:
        disk.make_directory(self.layout.root)
        self._descriptor = self._inherited()
        if self._descriptor is None:
            self._descriptor = self._locked()
        try:
            before = read_owner(self.layout)
            if before is not None and (self._descriptor is None or not before.is_here):
                self._watch(before)
            self._claim(before)
        except BaseException:
            self._unlock()
            raise
        _held.append(self)

    def _inherited(self) -> int | None:
        """Take over from an earlier run of this process."""
        for other in list(_held):
            if other.owner is None or other.owner.pid != os.getpid():
                _held.remove(other)  # a forked child doesn't have its parent's locks
            elif other.is_of(self.layout):
                return other.hand_over()
        return None

    def is_of(self, layout: Layout) -> bool:
        """Return whether this is the lock of a directory, by any path."""
        if self._descriptor is None:
            return self.layout.root.resolve() == layout.root.resolve()
        return is_of(self._descriptor, layout.lock_file)

    def hand_over(self) -> int | None:
        """End pending work and return the descriptor with the system's lock."""
        self.before_handing_over()
        self._stop_beating()
        _held.remove(self)
        descriptor, self._descriptor = self._descriptor, None
        return descriptor

    def _locked(self) -> int | None:
        try:
            return lock(self.layout.lock_file)
        except LockTaken as error:
            raise self._in_use(read_owner(self.layout)) from error

    def probe(self) -> None:
        """Take the system's lock and release it at once.

        Raises:
            DirectoryInUse: Another process has it.
        """
        with contextlib.suppress(OSError):
            descriptor = self._locked()
            if descriptor is not None:
                os.close(descriptor)

    def _in_use(self, owner: Owner | None) -> DirectoryInUse:
        return DirectoryInUse(
            f"{self.layout.root} is being written by {owner or 'another process'}.",
            "Two trainings in one directory would overwrite each other's checkpoints and journal; "
            "nothing was changed.",
            "Wait until it is done, stop it, or give this one another directory.",
        )

    def _watch(self, owner: Owner) -> None:
        """Wait until a writer on another host has had no heartbeat for long enough."""
        _log.warning(
            "%s was last written by %s. Waiting %.0f s for a sign of life before taking it over.",
            self.layout.root,
            owner,
            self._patience,
        )
        seen = self._sign(owner)
        began = self._clock()
        while (waited := self._clock() - began) < self._patience:
            self._sleep(min(1.0, self._patience - waited))
            now = read_owner(self.layout)
            if now is None and not self.layout.owner_file.exists():
                return  # it released the lock
            if now is not None and now.token != owner.token:
                raise self._in_use(now)
            if self._sign(owner) != seen:
                raise self._in_use(owner)

    def _sign(self, owner: Owner) -> int:
        try:
            # Opening the file makes a network filesystem ask its server.
            return len(self.layout.beat_file(owner.token).read_bytes())
        except OSError:
            return -1

    def _claim(self, before: Owner | None) -> None:
        owner = Owner.present()
        show_sign_of_life(self.layout.beat_file(owner.token))
        content = json.dumps(asdict(owner), indent=1).encode()
        disk.replace_file(
            self.layout.owner_file, content, durable=False
        )  # needn't survive a power cut
        if before is not None:
            remove(self.layout.beat_file(before.token))
        self.owner = owner
        self._over.clear()
        self._beats = threading.Thread(target=self._beat, name="unbroken-alive", daemon=True)
        self._beats.start()

    def _beat(self) -> None:
        assert self.owner is not None
        path = self.layout.beat_file(self.owner.token)
        while not self._over.wait(self._beat_seconds):
            with contextlib.suppress(OSError):  # the saves report a failing disk
                show_sign_of_life(path)

    def require_ours(self) -> None:
        """Check that this process still owns the run, just before an irreversible change.

        Raises:
            OwnerChanged: Another process took it over.
            SaveFailed: The owner can't be read.
        """
        found = read_owner(self.layout)
        if self.owner is not None and found == self.owner:
            return
        if found is None:
            raise SaveFailed(
                f"{self.layout.owner_file}, which names the process that writes to this run, is missing or damaged.",
                "The directory was deleted or taken over; this process changes nothing in it.",
                "Restore the directory, or stop this training.",
            )
        raise OwnerChanged(
            f"{self.layout.root} was taken over by {found}.",
            "This process was suspended for too long, or its disk was unavailable. Continuing would "
            "write into the other's run, so it saves nothing more.",
            "Let the other process continue; it does so from the last committed checkpoint.",
        )

    def release(self) -> None:
        """Release the lock, and delete the files that name its owner."""
        if self not in _held or self.owner is None or self.owner.pid != os.getpid():
            return
        self._stop_beating()
        _held.remove(self)
        with contextlib.suppress(OSError):
            if read_owner(self.layout) == self.owner:
                remove(self.layout.owner_file)
            remove(self.layout.beat_file(self.owner.token))
        self.owner = None
        self._unlock()

    def _unlock(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                unlock(self._descriptor, self.layout.lock_file)
            self._descriptor = None

    def _stop_beating(self) -> None:
        self._over.set()
        if self._beats is not None:
            self._beats.join()
            self._beats = None


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
