"""Saves of one run, written in the background while training goes on.

The training thread is held only while the state is copied into host memory. One save is written at
a time: a second one waits for the first and never overtakes it. What went wrong in the background
surfaces at the next look, not never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from unbroken.checkpoint.commit import HostSnapshot, Snapshot, copy_to_host, tensor_files
from unbroken.checkpoint.file_image import HostCopy
from unbroken.checkpoint.late_copy import LateCopy
from unbroken.checkpoint.latest import name_latest
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.retention import usual
from unbroken.checkpoint.store import Store
from unbroken.cores import spare_cores
from unbroken.errors import SaveFailed
from unbroken.state.position import Position


class Saver:
    """Saves the checkpoints of one run.

    Args:
        layout: The run's directory.
        run_id: The run.
        keep: How many of the newest checkpoints stay.
        keep_every: Those at multiples of so many steps stay as well; 0 for none.
        best_by: The metric whose best checkpoint stays as well; None for none.
        before_commit: Called in the background before the first byte is written.
        after_commit: Called in the background with the place of a new checkpoint.
        require_ours: Raises where another process owns the run; asked before what is visible changes.
    """

    def __init__(
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
    ) -> None:
        self.store = Store(layout, run_id, require_ours)
        self.policies = usual(keep, keep_every)
        self.best_by = best_by
        self.before_commit = before_commit
        self.after_commit = after_commit
        self.held_seconds = 0.0
        """How long the last save held the training thread."""
        self.write_seconds = 0.0
        """How long the last save took in the background."""
        self.newest: Path | None = None
        """The newest checkpoint that is on the disk and verified."""
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
        """Note that this checkpoint holds the present state; newer ones are set aside."""
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
        """Say whether the state at a position was handed over already, with these scores."""
        return self._held == (position, dict(metrics))

    def place(self, position: Position) -> Path:
        """Return where a checkpoint taken at `position` lies."""
        return self.store.layout.checkpoints / checkpoint_name(position)

    def prepare(self, capture: Callable[[], Mapping[str, Any]]) -> None:
        """Allocate in the background, once, what a state is copied into, so that no save waits for it.

        Where that fails, the save that needs the memory tries again and says so.

        Args:
            capture: Returns the parts as they will be saved; only dtypes and shapes matter.
        """
        if not self._allocating:
            _, files = tensor_files(capture())
            self._allocating = [self._thread.submit(self._host.allocate, files)]

    def overlap(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Let what only these optimisers change be copied beside the next forward pass.

        Their updates wait for it. It begins after the first save, whose copy is proved, where a core
        is left over; it ends for good when something else was seen to change a parameter.
        """
        self._fences = [each.register_step_pre_hook(self._fence) for each in optimizers]
        self._overlaps = True

    def save(self, snapshot: Snapshot) -> None:
        """Copy a snapshot and hand it to the background.

        Raises:
            SaveFailed: The save before this one went wrong, or there is no memory for a copy; this
                one was not begun.
            NotEncodable: The state holds something that has no faithful form.
        """
        self.finish()
        began = time.monotonic()
        wait(self._allocating)
        try:
            copied = copy_to_host(
                snapshot, self._host, prove=not self._is_proved, overlap=self._can_overlap()
            )
        except (MemoryError, OSError) as error:
            raise SaveFailed(
                f"There is no memory for a copy of the state to write: {error}.",
                "The work since the last checkpoint is at risk; the last one is untouched.",
                "Free memory on this machine: fewer worker processes, or fewer other programs.",
            ) from error
        self._held = (copied.position, copied.metrics)
        self._late = copied.late
        self._pending = self._thread.submit(self._write, copied)
        self.held_seconds = time.monotonic() - began

    def _can_overlap(self) -> bool:
        """Say whether copies beside the forward pass take no core from it, and saves were proved."""
        return self._overlaps and self._is_proved and spare_cores() > 0

    def _fence(self, *_: Any) -> None:
        """Let an update through once the copies are made that it would spoil."""
        late = self._late
        if late is not None:
            self.held_seconds += late.fence()

    def _write(self, copied: HostSnapshot) -> Path:
        began = time.monotonic()
        self._copy_late(copied.late)
        self.before_commit()
        place = self.store.save(copied)
        self.write_seconds = time.monotonic() - began
        self.after_commit(place)
        self.store.clean(self.policies, self.best_by, verified=place.name)
        return place

    def _copy_late(self, late: LateCopy) -> None:
        try:
            late.make()
        except SaveFailed:
            self._overlaps = False  # something else changes what only updates should
            raise

    def finish(self) -> Path | None:
        """Wait for the save that is being written; return its place, None if there is none.

        Raises:
            SaveFailed: It went wrong.
        """
        if self._pending is None:
            return None
        wait([self._pending])  # interrupted here, it stays pending: its memory is in use
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

    def look(self) -> Path | None:
        """Like `finish`, but without waiting: None while a save is still being written."""
        if self._pending is None or not self._pending.done():
            return None
        return self.finish()

    def wait(self) -> None:
        """Wait for the save that is being written, whatever becomes of it; it can be looked at later."""
        if self._pending is not None:
            wait([self._pending])

    def hand_over(self) -> None:
        """Wait like that, and stand before no update any more: a later run goes on."""
        self.wait()
        self._remove_fences()

    def _remove_fences(self) -> None:
        for each in self._fences:
            each.remove()

    def close(self) -> None:
        """Wait for the save that is being written and end the background thread.

        Raises:
            SaveFailed: It went wrong.
        """
        self._is_closed = True
        try:
            self.finish()
        finally:
            self._thread.shutdown()
            self._remove_fences()
