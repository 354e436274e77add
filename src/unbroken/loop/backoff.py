"""When something that failed is tried again: after pauses that grow from try to try."""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 600.0
"""The pause is doubled from the first to the longest."""


@dataclass(slots=True)
class Backoff:
    """Plans the next try of something that failed; one in between that fails delays nothing."""

    retry_at: float | None = None
    """Time of the monotonic clock; None while nothing has failed."""
    _pause: float = FIRST_PAUSE_SECONDS

    @property
    def has_failed(self) -> bool:
        """Whether it failed and has not succeeded since."""
        return self.retry_at is not None

    @property
    def is_due(self) -> bool:
        """Whether it may be tried now."""
        return self.retry_at is None or time.monotonic() >= self.retry_at

    def failed(self) -> float:
        """Note a failure and return the seconds until the next try."""
        now = time.monotonic()
        if self.retry_at is None or now >= self.retry_at:
            self.retry_at = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return self.retry_at - now

    def succeeded(self) -> None:
        """Note that it works again."""
        self.retry_at, self._pause = None, FIRST_PAUSE_SECONDS
