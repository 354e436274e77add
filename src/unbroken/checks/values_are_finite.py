"""All values of the state are finite.

Compares: nothing with the save; it looks for NaN and infinity in every floating-point tensor of all
parts.

Why: one NaN in a moment makes its weight NaN at the next update, and then everything else.

Does not: judge sizes.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary


class ValuesAreFinite(Check):
    """All values of the state are finite."""

    id = "values-are-finite"
    title = "All values of the state are finite"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "One NaN makes every loss NaN within some steps."
    cause = "The training had diverged before this checkpoint was saved."
    remedy = "Go back to the previous checkpoint with Run.resume(PATH), with a lower rate or gradient clipping."
    AGREES = ((StateSummary(), StateSummary(evidence={"nonfinite": []})),)
    DIFFERS = ((StateSummary(), StateSummary(evidence={"nonfinite": ["m.w"]})),)

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Report the tensors that are not finite."""
        bad = live.evidence.get("nonfinite", [])
        if bad:
            return differs(f"{len(bad)} tensors", *bad)
        return agrees(f"{len(live.leaves)} tensors")
