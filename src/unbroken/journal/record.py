"""The record of a run: a journal of its steps, a history of its starts and stops.

A failing disk doesn't end the training at once: lines wait in memory, and writing them in order is
retried with growing pauses, until they have waited longer than work may be lost.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.errors import SaveFailed
from unbroken.journal.journal import Journal, read_lines
from unbroken.loop.backoff import Backoff

_log = logging.getLogger("unbroken")


class RunRecord:
    """The record of one run, opened by one start.

    Args:
        layout: The run's directory.
        max_lost_minutes: Longest time that lines may wait before the run ends.

    Raises:
        SaveFailed: Nothing can be written.
    """

    def __init__(self, layout: Layout, max_lost_minutes: float = 60.0) -> None:
        self.max_lost_minutes = max_lost_minutes
        self._layout = layout
        self.start = 1 + sum(line.get("event") == "start" for line in read_lines(layout.history))
        """The number of this start, from 1."""
        self._writing = threading.Lock()  # never held during an fsync, which would block training
        self._noting = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._since = 0.0
        self._backoff = Backoff()
        try:
            self._journal = Journal(layout.journal)
        except OSError as error:
            raise _refused(layout.journal, error) from error
        if self._journal.torn_bytes:
            self.note("torn journal line cut off", bytes=self._journal.torn_bytes)

    def begin(self, **details: Any) -> None:
        """Write the line of this start to the history.

        Raises:
            SaveFailed: The disk can't be written; nothing was trained yet.
        """
        self._write("start", {"command": sys.orig_argv, "cwd": _working_directory(), **details})

    def step(self, line: dict[str, Any]) -> None:
        """Write the line of a completed step to the journal, or keep it in memory.

        Raises:
            SaveFailed: Lines have waited longer than work may be lost.
        """
        with self._writing:
            self._waiting.append({**line, "start": self.start})
            if self._backoff.is_due:
                self._write_waiting()

    def _write_waiting(self) -> None:
        is_late = len(self._waiting) > 1
        try:
            while self._waiting:
                self._journal.append(self._waiting[0])
                del self._waiting[0]
        except SaveFailed as error:
            self._wait_on(error)
        else:
            self._backoff.succeeded()
            self._since = 0.0
            if is_late:
                _log.warning("The journal can be written again; no line is missing.")

    def _wait_on(self, error: SaveFailed) -> None:
        now = time.monotonic()
        self._since = self._since or now
        waited = (now - self._since) / 60
        if waited > self.max_lost_minutes:
            raise SaveFailed(
                f"{error.what} {len(self._waiting)} lines have waited {waited:.0f} minutes.",
                f"More than the {self.max_lost_minutes:g} minutes of work that may be lost.",
                error.remedy,
            ) from error
        _log.warning(
            "JOURNAL NOT WRITTEN: %s Training continues, %d lines wait; next try in %.0f s. %s",
            error.what,
            len(self._waiting),
            self._backoff.failed(),
            error.remedy,
        )

    def note(self, event: str, **details: Any) -> None:
        """Write a line to the history; a failure is only logged."""
        try:
            self._write(event, details)
        except SaveFailed as error:
            _log.warning("%s %s", error.what, error.remedy)

    def saved(self, place: Path, held_seconds: float, write_seconds: float) -> None:
        """Record a committed checkpoint, and its cost.

        Args:
            place: Its directory.
            held_seconds: How long the training thread was blocked.
            write_seconds: How long writing in the background took.
        """
        self.note(
            "saved",
            checkpoint=place.name,
            seconds=held_seconds + write_seconds,
            held_seconds=held_seconds,
        )

    def _write(self, event: str, details: dict[str, Any]) -> None:
        line = {"event": event, "start": self.start, "time": time.time(), **details}
        with self._noting:
            try:
                history = Journal(self._layout.history)
                history.append(line)
                history.close()
            except OSError as error:
                raise _refused(self._layout.history, error) from error

    def sync(self) -> None:
        """Write waiting lines and flush the journal to the device; done before each commit.

        Raises:
            OSError: The disk can't be written.
        """
        with self._writing:
            if self._waiting:
                self._write_waiting()
        self._journal.sync()

    def close(self) -> None:
        """Write waiting lines, flush the journal to the device and close it.

        Raises:
            SaveFailed: The disk can't be written.
        """
        with self._writing:
            try:
                while self._waiting:
                    self._journal.append(self._waiting.pop(0))
                self._journal.close()
            except OSError as error:
                raise _refused(self._layout.journal, error) from error


def note_in_history(layout: Layout, event: str, **details: Any) -> None:
    """Write a history line for a start that never opened the record, such as a refusal.

    A failure is only logged.
    """
    try:
        history = Journal(layout.history)
        history.append({"event": event, "time": time.time(), **details})
        history.close()
    except (OSError, SaveFailed) as error:
        _log.warning("%s could not be written: %s", layout.history, error)


def _working_directory() -> str | None:
    """Return the working directory; None if it was deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _refused(path: Path, error: OSError) -> SaveFailed:
    return SaveFailed(
        f"Nothing can be written to {path}: {error}.",
        "A resume is proved by comparing it with the run's record, so the record must be complete.",
        "Free space on the disk, or check its permissions.",
    )
