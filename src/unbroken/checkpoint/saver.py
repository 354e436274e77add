"""Saves of one run, written in the background while training goes on.

The training thread is held only while the state is copied into host memory. One save is written at
a time: a second one waits for the first and never overtakes it. What went wrong in the background
surfaces at the next look, not never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.commit import Frozen, Snapshot, freeze
from unbroken.checkpoint.file_image import HostCopy
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.retention import usual
from unbroken.checkpoint.store import Store
from unbroken.errors import SaveFailed
from unbroken.state.digest import host_bytes, tensor_digest
from unbroken.state.position import Position
from unbroken.tree import leaves


class Saver:
    """Saves the checkpoints of one run.

    Args:
        layout: The run's directory.
        run_id: The run.
        keep: How many of the newest checkpoints stay.
        keep_every: Those at multiples of so many steps stay as well; 0 for none.
        best_by: The metric whose best checkpoint stays as well; None for none.
        before_commit: Called in the background before the first byte is written.
        after_commit: Told in the background where a checkpoint is now.
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
        self._is_proved = False
        self._held: tuple[Position, dict[str, float]] | None = None
        self._pending: Future[Path] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unbroken-save")

    def resumed_from(self, checkpoint: Checkpoint) -> None:
        """Note that this checkpoint holds the present state; newer ones are set aside."""
        self.newest = checkpoint.path
        self._held = (checkpoint.position, dict(checkpoint.manifest.metrics))
        if self.store.give_up_after(checkpoint.position):
            name = f"{checkpoint_name(checkpoint.position)}\n"
            disk.replace_file(self.store.layout.latest, name.encode())

    def holds(self, position: Position, metrics: Mapping[str, float]) -> bool:
        """Say whether the state at a position was handed over already, with these scores."""
        return self._held == (position, dict(metrics))

    def place(self, position: Position) -> Path:
        """Return where a checkpoint taken at `position` lies."""
        return self.store.layout.checkpoints / checkpoint_name(position)

    def save(self, snapshot: Snapshot) -> None:
        """Copy a snapshot and hand it to the background.

        Raises:
            SaveFailed: The save before this one went wrong; this one was not begun.
            NotEncodable: The state holds something that has no faithful form.
        """
        self.finish()
        began = time.monotonic()
        frozen = freeze(snapshot, self._host)
        if not self._is_proved:
            frozen = replace(frozen, live=_require_faithful(frozen, snapshot))
            self._is_proved = True
        self._held = (frozen.position, frozen.metrics)
        self._pending = self._thread.submit(self._write, frozen)
        self.held_seconds = time.monotonic() - began

    def _write(self, frozen: Frozen) -> Path:
        began = time.monotonic()
        self.before_commit()
        place = self.store.save(frozen)
        self.write_seconds = time.monotonic() - began
        self.after_commit(place)
        self.store.clean(self.policies, self.best_by, verified=place.name)
        return place

    def finish(self) -> Path | None:
        """Wait for the save that is being written; return its place, None if there is none.

        Raises:
            SaveFailed: It went wrong.
        """
        if self._pending is None:
            return None
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

    def close(self) -> None:
        """Wait for the save that is being written and end the background thread.

        Raises:
            SaveFailed: It went wrong.
        """
        try:
            self.finish()
        finally:
            self._thread.shutdown()


def _require_faithful(frozen: Frozen, snapshot: Snapshot) -> dict[str, str]:
    """Compare the copy with the live tensors; done once a start, it reads the state once more.

    Returns:
        The digests of the live tensors, for the background to compare what it wrote with.

    Raises:
        SaveFailed: They differ, so something changed the state while it was copied.
    """
    digests = {}
    for part, value in snapshot.parts.items():
        image = frozen.images.get(f"{part}.safetensors")
        for leaf, live in leaves(value, part):
            if isinstance(live, torch.Tensor) and image is not None:
                _require_equal(leaf, live, image.leaf(leaf))
                digests[leaf] = tensor_digest(live)
    return digests


def _require_equal(leaf: str, live: Any, copied: memoryview) -> None:
    if host_bytes(live) != copied:
        raise SaveFailed(
            f"The copy of {leaf} is not the live tensor.",
            "Something changed it while it was copied; the checkpoint would be of no instant.",
            "Let nothing but the training thread change the state.",
        )
