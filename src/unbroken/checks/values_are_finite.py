"""No value of the state is infinite or not a number.

Compares: every floating tensor of models, optimisers and all other parts with finiteness.

Why: one NaN in a moment makes its weight NaN at the next update, and everything after it.

Does not: judge sizes.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary


class ValuesAreFinite(Check):
    """No value of the state is infinite or not a number."""

    id = "values-are-finite"
    title = "No value of the state is infinite or not a number"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "One NaN makes every loss NaN some steps later."
    cause = "The training had gone bad before this checkpoint was saved."
    remedy = "Go back to the checkpoint before with Run.resume(PATH), with a lower rate or gradient clipping."
    AGREES = ((StateSummary(), StateSummary(evidence={"nonfinite": []})),)
    DIFFERS = ((StateSummary(), StateSummary(evidence={"nonfinite": ["m.w"]})),)

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Look at what was found in the live tensors."""
        bad = live.evidence.get("nonfinite", [])
        if bad:
            return differs(f"{len(bad)} tensors", *bad)
        return agrees(f"{len(live.leaves)} tensors")
