"""Randomness derives from the position, by the same scheme.

Compares: the schemes that seeds and order derive from, and that every stream derives from the
position; the number of devices plays no part.

Why: another dropout mask is another gradient.

Does not: restore generators: what can be derived can't be restored wrongly.
"""

from __future__ import annotations

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


class RandomStreamsContinue(Check):
    """Randomness derives from the position, by the same scheme."""

    id = "random-streams-continue"
    title = "Randomness derives from the position, by the same scheme"
    area = "order and randomness"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "Another scheme draws other masks and other orders under the same position."
    cause = "The run was begun by a version with another scheme."
    remedy = "Continue with the version that began the run."
    AGREES = (
        (
            StateSummary(evidence={"schemes": {"seed": 1}, "seed_here": 7}),
            StateSummary(evidence={"schemes": {"seed": 1}, "seed_here": 7}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(evidence={"schemes": {"seed": 1}, "seed_here": 7}),
            StateSummary(evidence={"schemes": {"seed": 1}, "seed_here": 8}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the schemes and the seed of the next micro-batch."""
        keys = ("schemes", "seed_here")
        before, now = ([each.evidence.get(key) for key in keys] for each in (saved, live))
        if None in before:
            return cannot_compare("the checkpoint recorded no seed", severity=None)
        if before != now:
            return differs(f"is {now}, was {before}")
        return agrees(f"next micro-batch seeded with {now[1]:016x}")
