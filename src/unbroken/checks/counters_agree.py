"""The counters of the checkpoint agree with one another.

Compares: completed steps, applied updates, samples and epoch of the position; the schedule's own
counter with the updates; each optimiser's step counter with what the save noted of it. An optimiser
may well step more often than the run, or later, or have begun with old moments.

Why: a scheduler that is one step ahead of its optimiser stays ahead.

Does not: compare with the journal; the replay does.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary


class CountersAgree(Check):
    """The counters agree with one another."""

    id = "counters-agree"
    title = "The counters agree with one another"
    area = "schedule and counters"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "A part that is ahead or behind stays so from here on."
    cause = "Something stepped twice, or not at all, around the save: a foreign scheduler, a manual step()."
    remedy = (
        "Step nothing outside of the run. `unbroken repair PATH schedule` sets a schedule's counter "
        "right; otherwise go back to the checkpoint before: Run.resume(PATH)."
    )
    AGREES = (
        (
            StateSummary(
                position={"step": 5, "updates": 4},
                kinds={"s": "schedule"},
                values={"s.updates": 4},
                evidence={"optimizer_steps": {"o": [4, 4]}},
            ),
            StateSummary(),
        ),
        (
            StateSummary(
                position={"step": 5, "updates": 5},
                evidence={
                    "optimizer_steps": {"critic": [10, 10]},
                    "optimizer_ahead": {"critic": 5},
                },
            ),
            StateSummary(),
        ),
    )
    DIFFERS = (
        (
            StateSummary(position={"step": 5, "updates": 6}),
            StateSummary(),
        ),
        (
            StateSummary(
                position={"step": 5, "updates": 4},
                kinds={"s": "schedule"},
                values={"s.updates": 5},
            ),
            StateSummary(),
        ),
        (
            StateSummary(
                position={"step": 5, "updates": 5},
                evidence={"optimizer_steps": {"critic": [9, 9]}, "optimizer_ahead": {"critic": 5}},
            ),
            StateSummary(),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Compare all counters of the saved run."""
        step, updates = (saved.position.get(key, 0) for key in ("step", "updates"))
        details = []
        if updates > step:
            details.append(f"{updates} updates in {step} steps")
        for part in saved.of_kind("schedule"):
            count = saved.values.get(f"{part}.updates", updates)
            if count != updates:
                details.append(f"{part} counts {count} updates, the run {updates}")
        ahead = saved.evidence.get("optimizer_ahead", {})
        for part, (_, most) in saved.evidence.get("optimizer_steps", {}).items():
            expected = updates + ahead.get(part, 0)
            if most is not None and most != expected:
                details.append(f"{part} counts {most:g} updates, the save noted {expected:g}")
        if details:
            return differs(details[0], *details)
        return agrees(f"step {step}, {updates} updates")
