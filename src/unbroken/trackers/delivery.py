"""Hands rows to one tracker, in a thread of its own: no step waits for a network or a disk.

The order of events:

1. The tracker begins, and says how far it has come.
2. What it lacks of the steps before this start is read from the journal, and handed over.
3. Each row that comes is handed over, unless the tracker has its step from an earlier start.
4. An error is told, and ends this. The next start begins at 1.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

from unbroken.trackers.handed_over import HandedOver
from unbroken.trackers.row import Row
from unbroken.trackers.tracker import Tracker

MOST_WAITING = 100_000
"""Rows that may wait, some 50 MB; a tracker that is slower is left out until the next start."""

_log = logging.getLogger("unbroken")

Missing = Callable[[int, int], Iterator[Row]]
"""Yields the rows of the steps after the first number, up to the second."""


class Delivery:
    """Hands rows to a tracker.

    Args:
        tracker: The tracker.
        name: What it is called in messages and in the run's own record.
        handed_over: The run's record of how far each has come.
        at_exit: Called at the end of the program, before what the tracker itself does then.
    """

    def __init__(
        self, tracker: Tracker, name: str, handed_over: HandedOver, at_exit: Callable[[], None]
    ) -> None:
        self._at_exit = at_exit
        self._tracker = tracker
        self._name = name
        self._handed_over = handed_over
        self._waiting: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=lambda: None, daemon=True)
        self._has_failed = False
        self._had = 0

    def begin(self, run_id: str, step: int, missing: Missing) -> None:
        """Begin in the background.

        Args:
            run_id: The run's.
            step: Steps completed at this start.
            missing: Gives what the tracker lacks of them.
        """
        self._thread = threading.Thread(
            target=self._work,
            args=(run_id, step, missing),
            name=f"unbroken tracker {self._name}",
            daemon=True,
        )
        self._thread.start()

    def put(self, row: Row) -> None:
        """Have a row handed over."""
        if self._has_failed:
            return
        self._waiting.put(row)
        if self._waiting.qsize() > MOST_WAITING:
            self._tell(f"is too slow: {MOST_WAITING:,} steps wait for it")

    def end(self) -> None:
        """Let the tracker be closed once everything is handed over."""
        self._waiting.put(None)

    def wait(self, deadline: float) -> None:
        """Wait for that until `deadline`, of `time.monotonic()`."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._tell("has not taken in everything in time")

    def _work(self, run_id: str, step: int, missing: Missing) -> None:
        try:
            self._catch_up(run_id, step, missing)
            while (row := self._waiting.get()) is not None and not self._has_failed:
                if row.step > self._had:
                    self._hand_over(row)
            self._tracker.close()
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- of a program that isn't ours
            self._tell(f"failed with {type(error).__name__}: {error}")
            self._waiting = queue.SimpleQueue()

    def _catch_up(self, run_id: str, step: int, missing: Missing) -> None:
        recorded = self._handed_over.of(self._name)
        had = self._tracker.begin(run_id, min(recorded, step))
        # What is registered last is called first: wandb would end its run before the last rows come.
        atexit.register(self._at_exit)
        self._had = recorded if had is None else had
        if self._had < step:
            for row in missing(self._had, step):
                if not self._has_failed:
                    self._hand_over(row)

    def _hand_over(self, row: Row) -> None:
        if row.values:
            self._tracker.log(row.step, row.values)
        self._handed_over.advance(self._name, row.step)

    def _tell(self, what: str) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        _log.warning(
            "TRACKER LEFT OUT: %s %s. Training continues, its values are in the journal. Mend that; the "
            "next start hands over what is missing.",
            self._name,
            what,
        )
