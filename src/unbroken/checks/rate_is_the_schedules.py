"""Each optimiser holds the rate that its schedule gives.

Compares: the rate in each group of the live optimiser with the one the restored schedule gives for
the next update. Where both were as they are at the save, something else sets the rate as well.

Why: a schedule that was restored says the right rate, while the optimiser that steps holds another:
only one of the two was loaded, or the schedule drives another optimiser.

Does not: know which rate is right; `learning_rate_continues` does, and it says so where a group has lost
its schedule to another optimiser.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    agrees,
    differs,
)
from unbroken.checks.state_summary import StateSummary


class RateIsTheSchedules(Check):
    """Each optimiser holds the rate that its schedule gives."""

    id: ClassVar[str] = "rate-is-the-schedules"
    title: ClassVar[str] = "Each optimiser holds the rate that its schedule gives"
    area: ClassVar[str] = "schedule and counters"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = "The optimiser steps with its own rate, whatever the schedule says."
    cause: ClassVar[str] = (
        "The schedule drives another optimiser, or something set a rate after the restore."
    )
    remedy: ClassVar[str] = (
        "Build the schedule over the optimiser that steps, and set no rate by hand."
    )
    AGREES: ClassVar = (
        (StateSummary(), StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {"o": 1e-3}})),
        (StateSummary(), StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {}})),
        (
            StateSummary(evidence={"rates": {"o": 1e-4}, "scheduled": {"o": 1e-3}}),
            StateSummary(evidence={"rates": {"o": 1e-4}, "scheduled": {"o": 1e-3}}),
        ),
    )
    DIFFERS: ClassVar = (
        (StateSummary(), StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {"o": 1e-4}})),
        (
            StateSummary(evidence={"scheduled": {"another": 1e-3}}),
            StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {"another": 1e-3}}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the two rates of every group that has a schedule."""
        rates, scheduled = (live.evidence.get(key, {}) for key in ("rates", "scheduled"))
        before, gave = (saved.evidence.get(key, {}) for key in ("rates", "scheduled"))
        details = [
            Difference(
                name,
                rate,
                rates.get(name),
                f"{name}: holds {rates.get(name)}, its schedule gives {rate}",
            )
            for name, rate in scheduled.items()
            if rates.get(name) != rate
            and (name in rates or name in gave)
            and not (name in rates and (before.get(name), gave.get(name)) == (rates[name], rate))
        ]
        if details:
            return differs(str(details[0]), *details)
        return agrees(f"{len(scheduled)} groups")
