"""What is frozen has not moved since the run began.

Compares: the digest of every frozen tensor or range of rows with the one taken when the run began.

Why: a gradient mask does not freeze: weight decay and old momentum still move the rows (18 % in 200
steps).

Does not: stop a movement; `frozen_rows_out_of_reach` looks for what could cause one.
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
    """What is frozen has not moved since the run began."""

    id = "frozen-rows-unmoved"
    title = "What is frozen has not moved since the run began"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "What was to stay as it is drifts away bit by bit."
    cause = "Weight decay or momentum reaches rows that only their gradient keeps still."
    remedy = "Freeze them structurally (a part of the table that no optimiser holds), and go back to a checkpoint before they moved."
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
            return cannot_compare("the run recorded no digest at its birth", severity=None)
        moved = [name for name in born if name in now and born[name] != now[name]]
        if moved:
            return differs(f"{len(moved)} of {len(born)} moved", *moved, headline=FROZEN_MOVED)
        freed = [f"{name}: is no longer frozen" for name in born if name not in now]
        if freed:
            return differs(f"{len(freed)} of {len(born)} are no longer frozen", *freed)
        if new := now.keys() - born.keys():
            return cannot_compare(f"{', '.join(sorted(new)[:3])}: frozen from this start on")
        return agrees(f"{len(born)} identical with the start of the run")
