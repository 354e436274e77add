"""Saves of one run: committed, not repeated at the same position, and the old ones cleaned up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from unbroken.checkpoint.commit import Snapshot
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.store import Store
from unbroken.state.position import Position


class Saver:
    """Saves the checkpoints of one run.

    Args:
        layout: The run's directory.
        run_id: The run.
        keep: How many of the newest checkpoints stay.
        best_by: The metric whose best checkpoint stays as well; None for none.
    """

    def __init__(self, layout: Layout, run_id: str, *, keep: int, best_by: str | None) -> None:
        self.store = Store(layout, run_id)
        self.keep = keep
        self.best_by = best_by
        self.newest: Path | None = None
        """The checkpoint that holds the state of the last save or resume."""
        self._held: tuple[Position, dict[str, float]] | None = None
        self.seconds = 0.0
        """How long the last save took."""

    def resumed_from(self, checkpoint: Checkpoint) -> None:
        """Note that this checkpoint holds the present state."""
        self.newest = checkpoint.path
        self._held = (checkpoint.position, dict(checkpoint.manifest.metrics))

    def holds(self, position: Position, metrics: Mapping[str, float]) -> bool:
        """Say whether the state at a position is saved already, with these scores."""
        return self._held == (position, dict(metrics))

    def save(self, snapshot: Snapshot) -> Path:
        """Commit a snapshot and delete what retention allows.

        Raises:
            SaveFailed: The disk refused; the last checkpoint is untouched.
        """
        began = time.monotonic()
        self.newest = self.store.save(snapshot)
        self._held = (snapshot.position, dict(snapshot.metrics))
        self.store.clean(keep_last=self.keep, metric=self.best_by)
        self.seconds = time.monotonic() - began
        return self.newest
