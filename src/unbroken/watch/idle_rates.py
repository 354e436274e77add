"""Updates that train nothing, because every learning rate is 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.watch.watch import Remark

MANY_IDLE = 2
"""Updates in a row with a rate of 0 that are news; a warm-up begins with one."""


class IdleRates:
    """Notices where a schedule has ended before the training does; fed with each completed step."""

    def __init__(self) -> None:
        self._first = self._last = 0
        self._count = 0

    def take(self, line: Mapping[str, Any], rates: Mapping[str, float] | None) -> list[Remark]:
        """Take in a step.

        Args:
            line: Its line in the journal.
            rates: The rates of all groups, where the first one is 0.
        """
        if line.get("skipped") or line.get("gathers"):
            return []
        if line.get("lr") != 0 or any((rates or {}).values()):
            return self.end()
        self._first = self._first or line["step"]
        self._last = line["step"]
        self._count += 1
        if self._count != MANY_IDLE:
            return []
        told = (
            f"learning rate 0 since step {self._first:,}: the updates train nothing; the schedule "
            "ends before the training does, or has not begun"
        )
        return [self._remark(told)]

    def end(self) -> list[Remark]:
        """Say how long it was so, where it lasted and is over."""
        first, count, self._first, self._count = self._first, self._count, 0, 0
        if count <= MANY_IDLE:
            return []
        told = f"learning rate 0 from step {first:,} to {self._last:,}: {count:,} steps trained nothing"
        return [self._remark(told)]

    def _remark(self, sentence: str) -> Remark:
        return Remark(kind="idle rate", step=self._last, sentence=sentence, is_alarm=True)
