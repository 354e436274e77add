"""What is frozen has not moved since the run began.

Compares: the digest of every frozen tensor or range of rows with the one taken when the run began.

Why: a gradient mask does not freeze: weight decay and old momentum still move the rows (18 % in 200
steps).

Does not: stop a movement; `frozen_rows_out_of_reach` looks for what could cause one.
"""

from __future__ import annotations

from typing import ClassVar, Final

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

    id: ClassVar[str] = "frozen-rows-unmoved"
    title: ClassVar[str] = "What is frozen has not moved since the run began"
    area: ClassVar[str] = "weights"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = "The base voice and its language are lost bit by bit."
    cause: ClassVar[str] = (
        "Weight decay or momentum reaches rows that only their gradient keeps still."
    )
    remedy: ClassVar[str] = (
        "Freeze them structurally (a part of the table that no optimiser holds), and go back to a checkpoint before they moved."
    )
    AGREES: ClassVar = (
        (
            StateSummary(evidence={"frozen_at_birth": {"m.base": "aa"}}),
            StateSummary(evidence={"frozen": {"m.base": "aa"}}),
        ),
    )
    DIFFERS: ClassVar = (
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
