"""Each optimiser has the rate of its schedule.

Compares: the rate in each group of the live optimiser with that of the restored schedule for the next
update. If both were the same at the save, something else also sets the rate.

Why: the schedule may have the right rate while the optimiser has another: only one of the two was
loaded, or the schedule drives another optimiser.

Does not: know which rate is right; `learning-rate-continues` does, also if a group has lost its
schedule to another optimiser.
"""

from __future__ import annotations

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
    """Each optimiser has the rate of its schedule."""

    id = "rate-is-the-schedules"
    title = "Each optimiser has the rate of its schedule"
    area = "schedule and counters"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "The optimiser steps with its own rate, whatever the schedule says."
    cause = "The schedule drives another optimiser, or something set a rate after the restore."
    remedy = "Build the schedule over the optimiser that steps, and set no rate by hand."
    AGREES = (
        (StateSummary(), StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {"o": 1e-3}})),
        (StateSummary(), StateSummary(evidence={"rates": {"o": 1e-3}, "scheduled": {}})),
        (
            StateSummary(evidence={"rates": {"o": 1e-4}, "scheduled": {"o": 1e-3}}),
            StateSummary(evidence={"rates": {"o": 1e-4}, "scheduled": {"o": 1e-3}}),
        ),
    )
    DIFFERS = (
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
