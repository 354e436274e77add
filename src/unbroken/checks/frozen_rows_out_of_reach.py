"""Frozen tensors have no gradient and no optimiser.

Compares: which frozen tensors require gradients, have one, or are in a group of an optimiser.

Why: an optimiser changes every tensor in its groups, even with a gradient of zero.

Does not: notice a direct write; the digests of `frozen-rows-unmoved` do.
"""

from __future__ import annotations

from typing import Final

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, agrees, differs
from unbroken.checks.state_summary import StateSummary

MASKING_FAILED: Final = "CRITICAL: Gradient masking FAILED! Base embeddings have gradients"
"""The message that users of the earlier trainer know."""


class FrozenRowsOutOfReach(Check):
    """Frozen tensors have no gradient and no optimiser."""

    id = "frozen-rows-out-of-reach"
    title = "Frozen tensors have no gradient and no optimiser"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "An optimiser changes every tensor in its groups, even with a gradient of zero."
    cause = "The frozen rows are a part of a trained table with a mask on its gradient."
    remedy = "Keep frozen rows in a buffer or in a parameter that no optimiser has."
    AGREES = ((StateSummary(), StateSummary(evidence={"frozen": {"m.base": "aa"}, "reached": []})),)
    DIFFERS = (
        (
            StateSummary(),
            StateSummary(evidence={"frozen": {"m.base": "aa"}, "reached": ["m.base: a gradient"]}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Find gradients and optimisers of the frozen tensors."""
        reached = live.evidence.get("reached", [])
        if reached:
            headline = MASKING_FAILED
            return differs(f"{len(reached)} reached", *reached, headline=headline)
        return agrees(f"{len(live.evidence.get('frozen', {}))} tensors out of reach")
