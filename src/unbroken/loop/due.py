"""When a save is due: by steps, by minutes, and again after one that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from unbroken.errors import OwnerChanged, SaveFailed

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 600.0
"""Waiting time between tries of a save that fails: doubled from the first to the longest."""

LOOK_SECONDS = 0.5
"""How often a run that only waits for its last save looks whether it was asked to stop."""

_log = logging.getLogger("unbroken")


def _now() -> float:
    return time.monotonic()  # looked up at each call, so that a test's clock never stays behind


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
    _begun: float = field(default_factory=_now)
    """When a save was last handed over."""
    _good: float = field(default_factory=_now)
    """When the last one that succeeded was: work since then is at risk."""
    _retry_at: float | None = None
    _pause: float = FIRST_RETRY_SECONDS

    def is_due(self, step: int) -> bool:
        """Say whether to save after `step` completed steps."""
        now = time.monotonic()
        if self._retry_at is not None:
            return now >= self._retry_at
        by_steps = self.every > 0 and step % self.every == 0
        by_time = self.minutes > 0 and now - self._begun >= self.minutes * 60
        return by_steps or by_time

    def begun(self) -> None:
        """Note that a save was handed over, so none before it is open any more."""
        if self._retry_at is None:
            self._good = self._begun
        self._begun = time.monotonic()

    def saved(self) -> None:
        """Note that the save that was handed over last is on the disk."""
        self._good = self._begun
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
        lost = (now - self._good) / 60
        if lost > self.max_lost_minutes:
            raise SaveFailed(
                f"{error.what} {lost:.0f} minutes of work are at risk.",
                f"More than the {self.max_lost_minutes:g} minutes that may be lost; the last "
                "checkpoint is untouched.",
                error.remedy,
            ) from error
        if self._retry_at is None or now >= self._retry_at:  # one made in between delays nothing
            self._retry_at = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_RETRY_SECONDS)
        _log.warning(
            "SAVE FAILED: %s Training goes on; %.0f minutes of work are at risk; the next try is "
            "in %.0f s. %s",
            error.what,
            lost,
            self._retry_at - now,
            error.remedy,
        )

    def until_saved(
        self, save: Callable[[], object], meanwhile: Callable[[SaveFailed], None]
    ) -> None:
        """Save what no training goes on after; where that fails, wait and try again.

        Args:
            save: Saves, and waits until it is on the disk.
            meanwhile: Called with what went wrong while waiting; what it raises ends the waiting.

        Raises:
            OwnerChanged: Another process writes to the run now.
            SaveFailed: More work is at risk than may be lost.
        """
        while True:
            try:
                save()
            except SaveFailed as error:
                self.failed(error)
                failure = error
            else:
                return
            while self._retry_at is not None and time.monotonic() < self._retry_at:
                meanwhile(failure)
                time.sleep(LOOK_SECONDS)
