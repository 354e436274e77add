"""The learning rates that a resumed run will apply, foreseen from its schedules when it goes on.

The checks have compared the next 32 of them with those written down at the save; where a new curve
was accepted, it is that one. What is applied is then held against them, update by update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ROUNDING = 1e-6
"""Largest relative difference: a rate that is kept as a float32 tensor is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenRates:
    """What every group of every optimiser will be stepped with."""

    updates: int = 0
    """Updates completed where the run goes on."""
    by_group: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By name of the group, the rates of the updates from there on; one without a schedule has none."""
    journalled: str = ""
    """The group whose rate the journal has, where its schedule goes by updates; else empty.

    A loop of its own tells no other rate, and may step a schedule of PyTorch's once an epoch.
    """

    depends_on_scores: bool = False
    """Whether scores to come move a rate as well, so that nothing is foreseen."""

    are_moved_by_loop: bool = False
    """Whether the loop steps a schedule of its own; the checks have compared its whole curve."""

    held: float = math.nan
    """The rate that the first group holds where the run goes on; the checks have compared it."""

    def knows(self, update: int, applied: Mapping[str, float]) -> bool:
        """Say whether the first group's rate of the update after so many completed ones is foreseen."""
        return self._expected(next(iter(applied), self.journalled), update) is not None

    def departures(self, update: int, applied: Mapping[str, float], journalled: float) -> list[str]:
        """Say which groups were not stepped with the rate that was foreseen.

        Args:
            update: Updates completed before the step.
            applied: Rates by group; empty in a loop of its own.
            journalled: The rate in the journal; NaN where a loop of its own does not tell.
        """
        found = []
        for group, rate in (applied or {self.journalled: journalled}).items():
            expected = self._expected(group, update)
            if expected is None or math.isnan(rate):
                continue
            if not math.isclose(expected, rate, rel_tol=ROUNDING, abs_tol=1e-300):
                share = f" ({100 * (rate - expected) / expected:+.1f} %)" if expected else ""
                found.append(
                    f"{group} was stepped with {rate:.6g}, its curve gives {expected:.6g}{share}"
                )
        return found

    def _expected(self, group: str, update: int) -> float | None:
        series, ahead = self.by_group.get(group, ()), update - self.updates
        return series[ahead] if 0 <= ahead < len(series) else None
