"""The checkpoint holds every declared part, and no other.

Compares: the names and kinds of the parts, both ways.

Why: a part that isn't restored begins anew in silence: an optimiser without momentum, a schedule at
step 0, a moving average of noise.

Does not: find state that was never declared; `unbroken.testing.assert_resume_is_exact` does.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage, agrees, differs
from unbroken.checks.state_summary import StateSummary


class PartsComplete(Check):
    """The checkpoint holds every declared part, and no other."""

    id = "parts-complete"
    title = "The checkpoint holds every declared part, and no other"
    area = "other state"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "A part that is not restored begins anew in silence."
    cause = "Something was declared, renamed or left out since the save (an EMA, a scaler, a scheduler)."
    remedy = "Declare the parts of the run, or begin a new run from its weights."
    AGREES = ((StateSummary(kinds={"model": "model"}), StateSummary(kinds={"model": "model"})),)
    DIFFERS = (
        (
            StateSummary(kinds={"model": "model", "ema": "model"}),
            StateSummary(kinds={"model": "model"}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the names both ways."""
        missing = sorted(live.kinds.keys() - saved.kinds.keys())
        surplus = sorted(saved.kinds.keys() - live.kinds.keys())
        if not missing and not surplus:
            return agrees(f"{len(live.kinds)} parts")
        return differs(
            f"{len(missing)} not in the checkpoint, {len(surplus)} not declared",
            *(f"{each}: declared, but not in the checkpoint" for each in missing),
            *(f"{each}: in the checkpoint, but not declared" for each in surplus),
        )
