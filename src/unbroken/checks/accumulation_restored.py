"""The interrupted step is restored.

Compares: the samples done of the current step, the partial gradients by digest, and the partial sums
of its losses.

Why: if partial gradients are lost, one update is made from only a part of its samples.

Does not: compare anything if the run was saved between two steps.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckOutcome,
    CheckResult,
    OnAccept,
    Severity,
    agrees,
    differs,
)
from unbroken.checks.state import compare_state
from unbroken.checks.state_summary import Leaf, StateSummary, is_below


class AccumulationRestored(Check):
    """The interrupted step is restored."""

    id = "accumulation-restored"
    title = "The interrupted step is restored"
    area = "optimiser"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "One update would be made from only a part of its samples."
    cause = "Gradients were set to zero after the restore, or were not saved."
    remedy = "Don't call zero_grad() between Run.resume() and the first step."
    AGREES = (
        (
            StateSummary(
                kinds={"gradients": "run"},
                position={"samples": 2},
                leaves={"gradients.w": Leaf("float32", (2,), "aa")},
            ),
            StateSummary(
                kinds={"gradients": "run"},
                position={"samples": 2},
                leaves={"gradients.w": Leaf("float32", (2,), "aa")},
            ),
        ),
    )
    DIFFERS = (
        (
            StateSummary(
                kinds={"gradients": "run"},
                position={"samples": 2},
                leaves={"gradients.w": Leaf("float32", (2,), "aa")},
            ),
            StateSummary(kinds={"gradients": "run"}, position={"samples": 2}),
        ),
        (
            StateSummary(kinds={"gradients": "run"}, position={"samples": 2}),
            StateSummary(kinds={"gradients": "run"}, position={"samples": 2}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare position, gradients and sums."""
        done = saved.position.get("samples", 0)
        if done != live.position.get("samples", 0):
            return differs(f"{live.position.get('samples', 0)} samples done, were {done}")
        if done and not any(is_below(path, ("gradients",)) for path in saved.leaves):
            return differs(
                f"the checkpoint has none of the gradients of {done} samples",
                headline=f"WARNING: Resuming mid-accumulation cycle (counter={done})",
            )
        found = compare_state(saved, live, ["gradients", "sums"])
        if found.outcome is CheckOutcome.DIFFERS:
            return found
        total = saved.evidence.get("step_samples", "?")
        return agrees(
            f"{done} of {total} samples restored, nothing lost" if done else "no step was begun"
        )
