"""The learning-rate schedule has the saved settings.

Compares: the state of a schedule without its counters, as the code builds it now and as it built it
when the run began: base rates, curve, warm-up, total. What a schedule has changed of itself since is
its state, and goes on.

Why: a schedule with another total is right at the resume and wrong from the next step on (2.1 times
the rate, measured).

Does not: compare the rates themselves; `learning-rate-continues` does.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    Stage,
    agrees,
    differs,
    rate_mismatch,
)
from unbroken.checks.schedule_settings import AT_BIRTH, changed_settings, settings_asked_for
from unbroken.checks.state_summary import StateSummary
from unbroken.state.facts import ABSENT

BASE_RATES = frozenset({"base_rates", "base_lrs", "max_lrs"})
"""Settings that every rate of the curve is a multiple of."""


class ScheduleUnchanged(Check):
    """The schedule has the saved settings."""

    id = "schedule-unchanged"
    title = "The schedule has the saved settings"
    area = "schedule and counters"
    severity = Severity.CRITICAL
    on_accept = OnAccept.TAKE_NEW
    stage = Stage.BEFORE
    follows_from = ("settings-unchanged", "batch-geometry-unchanged")
    why = "The learning rate would leave its curve, often only some steps after the resume."
    cause = "The curve is built with other settings, or the number of samples changed."
    remedy = 'Build the run\'s schedule, or use the new curve with accept=["schedule-unchanged"].'
    AGREES = (
        (
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 100, "s.updates": 3}),
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 100, "s.updates": 0}),
        ),
        (
            StateSummary(
                kinds={"s": "schedule"},
                values={"s.lr_lambdas.0.calls": 9},
                evidence={AT_BIRTH: {"s.lr_lambdas.0.calls": 1}},
            ),
            StateSummary(kinds={"s": "schedule"}, values={"s.lr_lambdas.0.calls": 1}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 100}),
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 200}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the settings of every schedule that stores them separately from its counters."""
        before, now = settings_asked_for(saved), settings_asked_for(live)
        details = [
            Difference(
                path,
                was := before.get(path, ABSENT),
                now[path],
                f"{path}: is {now[path]}, was {'not there' if was is ABSENT else was}",
            )
            for path in sorted(changed_settings(saved, live) & now.keys())
        ]
        if details:
            found = str(details[0]) if len(details) == 1 else f"{len(details)} differ"
            share = max(map(_share, details))
            result = differs(found, *details)
            return rate_mismatch(result, share) if share else result
        return agrees(f"{len(now)} numbers")


def _share(each: Difference) -> float:
    """Return by which share a base rate differs; 0 for another setting, and where it was 0."""
    is_rate = not BASE_RATES.isdisjoint(each.path.split("."))
    before, now = each.saved, each.live
    if not is_rate or not isinstance(before, int | float) or not isinstance(now, int | float):
        return 0.0
    return abs(now - before) / abs(before) if before else 0.0
