"""No value of the state is infinite or not a number.

Compares: every floating tensor of models, optimisers and all other parts with finiteness.

Why: one NaN in a moment makes its weight NaN at the next update, and everything after it.

Does not: judge sizes.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary


class ValuesAreFinite(Check):
    """No value of the state is infinite or not a number."""

    id: ClassVar[str] = "values-are-finite"
    title: ClassVar[str] = "No value of the state is infinite or not a number"
    area: ClassVar[str] = "weights"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = "One NaN makes every loss NaN some steps later."
    cause: ClassVar[str] = "The training had gone bad before this checkpoint was saved."
    remedy: ClassVar[str] = (
        "Go back to the checkpoint before (--resume PATH), with a lower rate or gradient clipping."
    )
    AGREES: ClassVar = ((StateSummary(), StateSummary(evidence={"nonfinite": []})),)
    DIFFERS: ClassVar = ((StateSummary(), StateSummary(evidence={"nonfinite": ["m.w"]})),)

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Look at what was found in the live tensors."""
        bad = live.evidence.get("nonfinite", [])
        if bad:
            return differs(f"{len(bad)} tensors", *bad)
        return agrees(f"{len(live.leaves)} tensors")
