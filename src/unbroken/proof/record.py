"""The written record of a run: a journal of its steps, a history of its starts and stops."""

from __future__ import annotations

import time
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.proof.journal import Journal, read_lines


class Record:
    """The record of one run, opened by one start.

    Args:
        layout: The run's directory.
    """

    def __init__(self, layout: Layout) -> None:
        self._history = layout.history
        self.start = 1 + sum(line.get("event") == "start" for line in read_lines(layout.history))
        """Which start this is, from 1."""
        self._journal = Journal(layout.journal)
        if self._journal.torn_bytes:
            self.note("torn journal line cut off", bytes=self._journal.torn_bytes)

    def step(self, line: dict[str, Any]) -> None:
        """Write a completed step's line into the journal."""
        self._journal.append(line)

    def note(self, event: str, **details: Any) -> None:
        """Write a line into the history."""
        history = Journal(self._history)
        history.append({"event": event, "start": self.start, "time": time.time(), **details})
        history.close()

    def sync(self) -> None:
        """Bring the journal to the device."""
        self._journal.sync()

    def close(self) -> None:
        """Bring the journal to the device and close it."""
        self._journal.close()
