"""Frozen tensors are unchanged since the run began.

Compares: the digest of every frozen tensor or range of rows with that of the beginning of the run.

Why: a gradient mask does not freeze: weight decay and old momentum still change the rows (18 % in
200 steps).

Does not: prevent a change; `frozen-rows-out-of-reach` looks for its causes.
"""

from __future__ import annotations

from typing import Final

from unbroken.checks.check import (
    Check,
    CheckResult,
    OnAccept,
    Severity,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary

FROZEN_MOVED: Final = "CRITICAL: Frozen rows moved"


class FrozenRowsUnmoved(Check):
    """Frozen tensors are unchanged since the run began."""

    id = "frozen-rows-unmoved"
    title = "Frozen tensors are unchanged since the run began"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "Values that must stay as they are drift away step by step."
    cause = (
        "Weight decay or momentum changes rows that are frozen only by a mask on their gradient."
    )
    remedy = "Freeze them structurally (a part of the table that no optimiser has), and go back to a checkpoint before they changed."
    AGREES = (
        (
            StateSummary(evidence={"frozen_at_birth": {"m.base": "aa"}}),
            StateSummary(evidence={"frozen": {"m.base": "aa"}}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(evidence={"frozen_at_birth": {"m.base": "aa"}}),
            StateSummary(evidence={"frozen": {"m.base": "bb"}}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the digests by name."""
        born, now = saved.evidence.get("frozen_at_birth"), live.evidence.get("frozen", {})
        if not born and not now:
            return agrees("nothing is frozen")
        if born is None:
            return cannot_compare("the run recorded no digest when it began", severity=None)
        moved = [name for name in born if name in now and born[name] != now[name]]
        if moved:
            return differs(f"{len(moved)} of {len(born)} moved", *moved, headline=FROZEN_MOVED)
        freed = [f"{name}: is no longer frozen" for name in born if name not in now]
        if freed:
            return differs(f"{len(freed)} of {len(born)} are no longer frozen", *freed)
        if new := now.keys() - born.keys():
            return cannot_compare(f"{', '.join(sorted(new)[:3])}: only frozen since this start")
        return agrees(f"{len(born)} identical with the start of the run")
