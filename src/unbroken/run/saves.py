"""The saves of an open run: one that is waited for, and those that are written while training goes on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path

from unbroken.audit.self_audit import SelfAudit
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.saver import Saver
from unbroken.checkpoint.snapshot import Snapshot
from unbroken.errors import SaveFailed
from unbroken.loop.due import SaveDue
from unbroken.run.agreement import Agreement
from unbroken.run.inspector import StateInspector


class CheckpointSaves:
    """Saves checkpoints, on demand and when they are due.

    Args:
        layout: The run's directory.
        run_id: The run.
        start: Number of this start in the run's journal.
        inspector: Looks at the state that is saved.
        saver: Copies and writes it.
        due: Says when.
        audit: Looks at the first save for what it lacks.
        agreement: Of the processes that train.
    """

    def __init__(
        self,
        layout: Layout,
        run_id: str,
        start: int,
        *,
        inspector: StateInspector,
        saver: Saver,
        due: SaveDue,
        audit: SelfAudit,
        agreement: Agreement,
    ) -> None:
        self._layout = layout
        self._run_id = run_id
        self._start = start
        self._inspector = inspector
        self._due = due
        self._shown_resumable: Hashable = None
        self._audit = audit
        self._agreement = agreement
        self.saver = saver

    def snapshot(self, metrics: Mapping[str, float]) -> Snapshot:
        """Return the state as it is now; the tensors are the live ones."""
        return self._inspector.snapshot(self._layout, self._run_id, self._start, metrics)

    def save(self, metrics: Mapping[str, float], *, wait: bool, anew: bool = False) -> Path:
        """Save the present state, unless it was handed over already; return where it lies.

        Args:
            metrics: Scores of this state.
            wait: Until it is on the disk and verified.
            anew: Also where a checkpoint of this position was handed over.

        Raises:
            SaveFailed: The disk refused; the last checkpoint is untouched.
        """
        saver, position = self.saver, self._inspector.state.position
        if wait:
            with suppress(SaveFailed):  # what went wrong before is tried anew, and now waited for
                saver.finish()
        if self._agreement.decide(anew or not saver.holds(position, metrics)):
            self._show_resumable(self._inspector.state.structure())
            self._audit.at_save()
            saver.save(self.snapshot(metrics))
            self._due.begun()
        if wait:
            saver.finish()
            self._due.saved()
        return saver.place(position)

    def save_if_due(self, metrics: Mapping[str, float], *, at_once: bool) -> None:
        """Look at the save before, and hand over the next if it is due or wanted `at_once`.

        Raises:
            SaveFailed: More work is at risk than may be lost.
        """
        state = self._inspector.state
        if self._shown_resumable is None:
            self._show_resumable(state.structure())
        try:
            if self._was_written():
                self._due.saved()
            self.saver.prepare(state.capture)
            if at_once or self._agreement.is_due(state.position.step):
                self.save(metrics, wait=False)
        except SaveFailed as error:
            self._due.failed(error)

    def _was_written(self) -> bool:
        """Say, once, whether the save before is on the disk; on every rank at the same step.

        Raises:
            SaveFailed: It went wrong.
        """
        if self._agreement.is_alone:
            return self.saver.look() is not None
        return self._agreement.is_written and self.saver.finish() is not None

    def _show_resumable(self, structure: Hashable) -> None:
        """Show, once the parts have made their state, that a start would take it back.

        Args:
            structure: Of the state as it is now; what was shown for it isn't shown again.

        Raises:
            NotEncodable: It would not; nothing more is trained for nothing.
        """
        state = self._inspector.state
        if state.position.updates and self._shown_resumable != structure:
            state.require_resumable()
            self._shown_resumable = structure
