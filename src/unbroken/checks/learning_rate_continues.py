"""The learning rate continues on its curve.

Compares: the rate each group of the optimiser itself holds, and the next 32 rates of the schedule,
with those written down at the save; per group, by name. Then the whole curve of every schedule, at
updates that lie ever wider apart, up to a million ahead.

Why: a rate can be right at the resume and wrong from the next step on, or from a phase on that begins
weeks later.

Does not: judge whether the rate is a good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    agrees,
    cannot_compare,
    differs,
    rate_mismatch,
)
from unbroken.checks.curves import how_far, rates_at, where_curves_part
from unbroken.checks.state_summary import StateSummary


def _with_curve(*rates: float) -> StateSummary:
    curves = {"ahead": [1, 4096], "rates": {"s": [list(rates)]}}
    return StateSummary(evidence={"rates": {}, "curves": curves})


class LearningRateContinues(Check):
    """The learning rate continues on its curve."""

    id = "learning-rate-continues"
    title = "The learning rate continues on its curve"
    area = "schedule and counters"
    severity = Severity.CRITICAL
    on_accept = OnAccept.TAKE_NEW
    follows_from = (
        "settings-unchanged",
        "schedule-unchanged",
        "batch-geometry-unchanged",
    )
    why = "Too high a rate undoes the training within some steps; with too low a rate nothing is learnt."
    cause = "The schedule was rebuilt with other settings, or stepped another number of times."
    remedy = (
        "Use the run's schedule settings; `unbroken repair` rebuilds a schedule from its counters."
    )
    AGREES = (
        (
            StateSummary(evidence={"rates": {"o.0": 2e-5}, "next_rates": {"o.0": [2e-5, 1e-5]}}),
            StateSummary(evidence={"rates": {"o.0": 2e-5}, "next_rates": {"o.0": [2e-5, 1e-5]}}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(evidence={"rates": {"o.0": 2e-5}, "next_rates": {"o.0": [2e-5, 1e-5]}}),
            StateSummary(evidence={"rates": {"o.0": 2e-5}, "next_rates": {"o.0": [2e-5, 2e-5]}}),
        ),
        (_with_curve(1e-5, 0.0), _with_curve(1e-5, 1e-5)),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the rates now and the rates to come."""
        if "rates" not in saved.evidence:
            return cannot_compare("the checkpoint recorded no rates", severity=None)
        before, now = (_series(each.evidence) for each in (saved, live))
        details = [
            _difference(name, before[name], now.get(name, []))
            for name in before
            if before[name] != now.get(name)
        ]
        parted = where_curves_part(saved.evidence, live.evidence)
        if parted and not details:
            return differs(str(parted[0]), *parted)
        if details:
            worst = max(_share(before[name], now.get(name, [])) for name in before)
            result = differs(str(details[0]), *details)
            return rate_mismatch(result, worst) if worst else result
        shown = ", ".join(f"{rates[0]:.3e}" for rates in list(now.values())[:3] if rates)
        ahead = max((len(each) - 1 for each in now.values()), default=0)
        return agrees(f"{shown} and the next {ahead}{how_far(live.evidence)}")


def _series(evidence: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return, by group, the rate the optimiser holds and those the schedule will give."""
    to_come = evidence.get("next_rates", {})
    return {name: [rate, *to_come.get(name, [])] for name, rate in evidence["rates"].items()}


def _difference(name: str, before: list[float], now: list[float]) -> Difference:
    text = f"{name}: update +{_first(before, now)}: {_at(before, now)}"
    return Difference(name, before, now, text)


def _first(before: list[float], now: list[float]) -> int:
    """Return where two series part."""
    for i, (a, b) in enumerate(zip(before, now, strict=False)):
        if a != b:
            return i
    return min(len(before), len(now))


def _at(before: list[float], now: list[float]) -> str:
    if len(now) == 1 < len(before):
        return "no schedule drives it any more"
    return rates_at(before, now, _first(before, now))


def _share(before: list[float], now: list[float]) -> float:
    """Return the largest difference of two series, relative to the saved one."""
    pairs = zip(before, now, strict=False)
    return max((abs(b - a) / abs(a) for a, b in pairs if a), default=1.0)
