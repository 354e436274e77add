"""When a save is due: by steps, by minutes, and again after one that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from unbroken.errors import OwnerChanged, SaveFailed
from unbroken.loop.backoff import Backoff

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
    _backoff: Backoff = field(default_factory=Backoff)

    def is_due(self, step: int) -> bool:
        """Say whether to save after `step` completed steps."""
        if self._backoff.has_failed:
            return self._backoff.is_due
        by_steps = self.every > 0 and step % self.every == 0
        by_time = self.minutes > 0 and time.monotonic() - self._begun >= self.minutes * 60
        return by_steps or by_time

    def begun(self) -> None:
        """Note that a save was handed over, so none before it is open any more."""
        if not self._backoff.has_failed:
            self._good = self._begun
        self._begun = time.monotonic()

    def saved(self) -> None:
        """Note that the save that was handed over last is on the disk."""
        self._good = self._begun
        if self._backoff.has_failed:
            _log.warning("Saving works again.")
        self._backoff.succeeded()

    def failed(self, error: SaveFailed) -> None:
        """Note a failure and plan the next try.

        Raises:
            OwnerChanged: Another process writes to the run now.
            SaveFailed: More work is at risk than may be lost.
        """
        if isinstance(error, OwnerChanged):
            raise error
        lost = (time.monotonic() - self._good) / 60
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
            self._backoff.failed(),
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
            while not self._backoff.is_due:
                meanwhile(failure)
                time.sleep(LOOK_SECONDS)
