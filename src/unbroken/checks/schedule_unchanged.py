"""The learning-rate schedule has the saved settings.

Compares: the state of a schedule without its counters: base rates, curve, warm-up, total.

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
)
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import ABSENT

COUNTERS = frozenset(
    {
        "updates", "last_epoch", "_step_count", "_last_lr", "T_cur", "T_i", "best",
        "num_bad_epochs", "cooldown_counter", "_get_lr_called_within_step", "_is_initial",
    }
)  # fmt: skip
"""State that changes as a schedule advances."""


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
    )
    DIFFERS = (
        (
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 100}),
            StateSummary(kinds={"s": "schedule"}, values={"s.total": 200}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the settings of every schedule that stores them separately from its counters."""
        parts = live.of_kind("schedule")
        now = {path: each for path, each in live.values.items() if is_below(path, parts)}
        fixed = [path for path in now if not moves(path)]
        details = [
            Difference(
                path,
                before := saved.values.get(path, ABSENT),
                now[path],
                f"{path}: is {now[path]}, was {'not there' if before is ABSENT else before}",
            )
            for path in sorted(fixed)
            if repr(saved.values.get(path)) != repr(now[path])
        ]
        if details:
            return differs(
                str(details[0]) if len(details) == 1 else f"{len(details)} differ", *details
            )
        return agrees(f"{len(fixed)} numbers")


def moves(path: str) -> bool:
    """Return whether a value of a schedule changes as it advances."""
    return any(key in COUNTERS for key in path.split("."))
