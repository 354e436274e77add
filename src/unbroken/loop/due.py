"""When a periodic thing is due: on multiples of completed steps, or after so many minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class SaveDue:
    """Due at every multiple of `every` steps, and when `minutes` have passed since the last save."""

    every: int
    """Steps; 0 for never by steps."""
    minutes: float
    """Minutes of wall-clock time; 0 for never by time."""
    _since: float = field(default_factory=time.monotonic)

    def is_due(self, step: int) -> bool:
        """Say whether to save after `step` completed steps."""
        by_steps = self.every > 0 and step % self.every == 0
        by_time = self.minutes > 0 and time.monotonic() - self._since >= self.minutes * 60
        return by_steps or by_time

    def saved(self) -> None:
        """Count the minutes from now on."""
        self._since = time.monotonic()
