"""No gradient and no optimiser reaches what is frozen.

Compares: which frozen tensors require gradients, hold one, or are in a group of an optimiser.

Why: what an optimiser holds it moves, with a gradient of zero as well.

Does not: see a write by hand; the digests of `frozen_rows_unmoved` do.
"""

from __future__ import annotations

from typing import Final

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary

MASKING_FAILED: Final = "CRITICAL: Gradient masking FAILED! Base embeddings have gradients"
"""As users of the earlier trainer know it."""


class FrozenRowsOutOfReach(Check):
    """No gradient and no optimiser reaches what is frozen."""

    id = "frozen-rows-out-of-reach"
    title = "No gradient and no optimiser reaches what is frozen"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "What an optimiser holds it moves, even under a gradient of zero."
    cause = "The frozen rows are a part of a trained table, held still by a mask."
    remedy = "Keep frozen rows in a buffer or in a parameter that no optimiser holds."
    AGREES = ((StateSummary(), StateSummary(evidence={"frozen": {"m.base": "aa"}, "reached": []})),)
    DIFFERS = (
        (
            StateSummary(),
            StateSummary(evidence={"frozen": {"m.base": "aa"}, "reached": ["m.base: a gradient"]}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Look at what reaches the frozen tensors of the live run."""
        reached = live.evidence.get("reached", [])
        if reached:
            headline = MASKING_FAILED
            return differs(f"{len(reached)} reached", *reached, headline=headline)
        return agrees(f"{len(live.evidence.get('frozen', {}))} tensors out of reach")
