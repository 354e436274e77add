"""When a save is due: by steps, by minutes, and again after one that failed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from unbroken.errors import OwnerChanged, SaveFailed

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 600.0
"""Waiting time between tries of a save that fails: doubled from the first to the longest."""

_log = logging.getLogger("unbroken")


@dataclass(slots=True, kw_only=True)
class SaveDue:
    """Due at every multiple of `every` steps, and when `minutes` have passed since the last save.

    After a failure training goes on, and the save is tried again with growing pauses, until more
    work is at risk than may be lost.
    """

    every: int
    """Steps; 0 for never by steps."""
    minutes: float
    """Minutes of wall-clock time; 0 for never by time."""
    max_lost_minutes: float = 60.0
    """Minutes since the last good save after which a failing one ends the run."""
    _since: float = field(default_factory=time.monotonic)
    _retry_at: float | None = None
    _pause: float = FIRST_RETRY_SECONDS

    def is_due(self, step: int) -> bool:
        """Say whether to save after `step` completed steps."""
        now = time.monotonic()
        if self._retry_at is not None:
            return now >= self._retry_at
        by_steps = self.every > 0 and step % self.every == 0
        by_time = self.minutes > 0 and now - self._since >= self.minutes * 60
        return by_steps or by_time

    def begun(self) -> None:
        """Note that a save was handed over; the next one by time is counted from here."""
        self._since = time.monotonic() if self._retry_at is None else self._since

    def saved(self) -> None:
        """Note that a save is on the disk."""
        if self._retry_at is not None:
            _log.warning("Saving works again.")
        self._retry_at = None
        self._pause = FIRST_RETRY_SECONDS

    def failed(self, error: SaveFailed) -> None:
        """Note a failure and plan the next try.

        Raises:
            OwnerChanged: Another process writes to the run now.
            SaveFailed: More work is at risk than may be lost.
        """
        if isinstance(error, OwnerChanged):
            raise error
        now = time.monotonic()
        lost = (now - self._since) / 60
        if lost > self.max_lost_minutes:
            raise SaveFailed(
                f"{error.what} {lost:.0f} minutes of work are at risk.",
                f"More than the {self.max_lost_minutes:g} minutes that may be lost; the last "
                "checkpoint is untouched.",
                error.remedy,
            ) from error
        _log.warning(
            "SAVE FAILED: %s Training goes on; %.0f minutes of work are at risk; the next try is "
            "in %.0f s. %s",
            error.what,
            lost,
            self._pause,
            error.remedy,
        )
        self._retry_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_RETRY_SECONDS)
