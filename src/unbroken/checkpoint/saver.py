"""Writes the saves of one run in the background while training continues.

The training thread is only blocked while the state is copied into host memory. Saves are written one
at a time, in order. An error in the background is raised by the next call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from unbroken.checkpoint.file_image import HostCopy
from unbroken.checkpoint.late_copy import LateCopy
from unbroken.checkpoint.latest import name_latest
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.retention import usual
from unbroken.checkpoint.shared_commit import SharedCommit
from unbroken.checkpoint.snapshot import HostSnapshot, Snapshot, copy_to_host, tensor_files
from unbroken.checkpoint.store import Store
from unbroken.cores import spare_cores
from unbroken.errors import SaveFailed
from unbroken.state.position import Position

_log = logging.getLogger("unbroken")


class Saver:
    """Saves the checkpoints of one run.

    Args:
        layout: The run's directory.
        run_id: The run.
        keep: Number of newest checkpoints to keep.
        keep_every: Also keep those at multiples of N steps; 0 for none.
        best_by: The metric whose best checkpoint to keep as well; None for none.
        before_commit: Called in the background before the first byte is written.
        after_commit: Called in the background with the place of a new checkpoint.
        require_ours: Raises if another process owns the run; called before visible changes.
        shared: Commits with the other processes of the run; None where there are none.
    """

    def __init__(  # noqa: PLR0913  # the directory, what stays in it, and who is told
        self,
        layout: Layout,
        run_id: str,
        *,
        keep: int,
        best_by: str | None,
        keep_every: int = 0,
        before_commit: Callable[[], None] = lambda: None,
        after_commit: Callable[[Path], None] = lambda _place: None,
        require_ours: Callable[[], None] = lambda: None,
        shared: SharedCommit | None = None,
    ) -> None:
        self.store = Store(layout, run_id, require_ours, shared)
        self.policies = usual(keep, keep_every)
        self.best_by = best_by
        self.before_commit = before_commit
        self.after_commit = after_commit
        self.held_seconds = 0.0
        """How long the last save blocked the training thread."""
        self.write_seconds = 0.0
        """How long the last save took in the background."""
        self.newest: Path | None = None
        """The newest verified checkpoint on the disk."""
        self._host = HostCopy()
        self._allocating: list[Future[None]] = []
        self._is_proved = False
        self._is_closed = False
        self._held: tuple[Position, dict[str, float]] | None = None
        self._pending: Future[Path] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unbroken-save")
        self._late: LateCopy | None = None
        self._fences: list[RemovableHandle] = []
        self._overlaps = False

    def resumed_from(self, checkpoint: Checkpoint) -> None:
        """Record that this checkpoint has the present state; newer ones are set aside."""
        self.newest = checkpoint.path
        self._held = (checkpoint.position, dict(checkpoint.manifest.metrics))
        if self.store.set_aside_newer(checkpoint.position):
            name_latest(self.store.layout, checkpoint_name(checkpoint.position))

    @property
    def held(self) -> Position | None:
        """Where the state stands that was handed over last; None where that went wrong, or before."""
        return None if self._held is None else self._held[0]

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be saved any more."""
        return self._is_closed

    def holds(self, position: Position, metrics: Mapping[str, float]) -> bool:
        """Return whether the state at a position was already saved with these scores."""
        return self._held == (position, dict(metrics))

    def place(self, position: Position) -> Path:
        """Return the path of a checkpoint at `position`."""
        return self.store.layout.checkpoints / checkpoint_name(position)

    def prepare(self, capture: Callable[[], Mapping[str, Any]]) -> None:
        """Allocate host memory in the background, once, so that no save waits for it.

        If that fails, the save that needs the memory tries again and reports the error.

        Args:
            capture: Returns the parts as they will be saved; only dtypes and shapes matter.
        """
        if not self._allocating:
            _, files = tensor_files(capture())
            self._allocating = [self._thread.submit(self._host.allocate, files)]

    def overlap(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Copy what only these optimisers change during the next forward pass.

        Their updates wait for the copy. This begins after the first save, whose copy is verified, if
        a core is free; it ends for this start if something else changes a parameter.
        """
        self._fences = [each.register_step_pre_hook(self._fence) for each in optimizers]
        self._overlaps = True

    def save(self, snapshot: Snapshot) -> None:
        """Copy a snapshot and write it in the background.

        Raises:
            SaveFailed: The previous save failed, or there is no memory for a copy; this save was not
                begun.
            NotEncodable: The state contains something that can't be encoded exactly.
        """
        self.finish()
        began = time.monotonic()
        wait(self._allocating)
        try:
            copied = copy_to_host(
                snapshot, self._host, prove=not self._is_proved, overlap=self._can_overlap()
            )
        except (MemoryError, OSError) as error:
            if self.store.shared is not None:
                self._thread.submit(self.store.shared.refuse, f"no memory for a copy ({error})")
            raise SaveFailed(
                f"There is not enough memory for a copy of the state: {error}.",
                "The work since the last checkpoint is at risk; the last one is untouched.",
                "Free memory on this machine: fewer worker processes, or fewer other programs.",
            ) from error
        self._held = (copied.position, copied.metrics)
        self._late = copied.late
        self._pending = self._thread.submit(self._write, copied)
        self.held_seconds = time.monotonic() - began

    def _can_overlap(self) -> bool:
        """Return whether a core is free for late copies, and the first save was verified."""
        return self._overlaps and self._is_proved and spare_cores() > 0

    def _fence(self, *_: Any) -> None:
        """Block an update until the late copies are complete."""
        late = self._late
        if late is not None:
            self.held_seconds += late.fence()

    def _write(self, copied: HostSnapshot) -> Path:
        began = time.monotonic()
        try:
            self._copy_late(copied.late)
            self.before_commit()
        except BaseException as error:
            if self.store.shared is not None:
                self.store.shared.refuse(str(getattr(error, "what", error)))
            raise
        place = self.store.save(copied)
        self.write_seconds = time.monotonic() - began
        try:
            self.after_commit(place)
            self.store.clean(self.policies, self.best_by, verified=place.name)
        except OSError as error:
            if self.store.shared is None:
                raise
            # It is saved, for all processes; one alone must not take it for a failure.
            _log.warning("After the save of %s: %s", place.name, error)
        return place

    def _copy_late(self, late: LateCopy) -> None:
        try:
            late.make()
        except SaveFailed:
            self._overlaps = False  # something else changes what only updates should change
            raise

    def finish(self) -> Path | None:
        """Wait for the pending save; return its path, or None if there is none.

        Raises:
            SaveFailed: It failed.
        """
        if self._pending is None:
            return None
        wait([self._pending])  # if interrupted here, it stays pending, since its memory is in use
        pending, self._pending = self._pending, None
        try:
            self.newest = pending.result()
        except SaveFailed:
            self._held = None
            raise
        except OSError as error:
            self._held = None
            raise SaveFailed(
                f"A checkpoint could not be completed: {error}.",
                "The work since the last checkpoint is at risk; the last one is untouched.",
                "Check the disk and its permissions.",
            ) from error
        self._is_proved = True
        return self.newest

    @property
    def is_written(self) -> bool:
        """Whether no save is being written."""
        return self._pending is None or self._pending.done()

    def look(self) -> Path | None:
        """Like `finish`, but without waiting: returns None while a save is pending."""
        if self._pending is None or not self._pending.done():
            return None
        return self.finish()

    def wait(self) -> None:
        """Wait for the pending save without raising its error, which `finish` and `look` still do."""
        if self._pending is not None:
            wait([self._pending])

    def hand_over(self) -> None:
        """Wait like that, and remove the fences, because a later run takes over."""
        self.wait()
        self._remove_fences()

    def _remove_fences(self) -> None:
        for each in self._fences:
            each.remove()

    def close(self) -> None:
        """Wait for the pending save and end the background thread.

        Raises:
            SaveFailed: It failed.
        """
        self._is_closed = True
        try:
            self.finish()
        finally:
            self._thread.shutdown()
            self._remove_fences()
