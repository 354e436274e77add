"""The checkpoint has the declared parts, and no others.

Compares: the names and kinds of the parts, in both directions.

Why: a part that isn't restored silently starts over: an optimiser without momentum, a schedule at
step 0, a moving average of noise.

Does not: find state that was never declared; `unbroken.testing.assert_resume_is_exact` does.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage, agrees, differs
from unbroken.checks.state_summary import StateSummary


class PartsComplete(Check):
    """The checkpoint has the declared parts, and no others."""

    id = "parts-complete"
    title = "The checkpoint has the declared parts, and no others"
    area = "other state"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "A part that is not restored silently starts over."
    cause = "A part was added, renamed or removed since the save (an EMA, a scaler, a scheduler)."
    remedy = "Declare the run's parts, or begin a new run from its weights."
    AGREES = ((StateSummary(kinds={"model": "model"}), StateSummary(kinds={"model": "model"})),)
    DIFFERS = (
        (
            StateSummary(kinds={"model": "model", "ema": "model"}),
            StateSummary(kinds={"model": "model"}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the names in both directions."""
        missing = sorted(live.kinds.keys() - saved.kinds.keys())
        surplus = sorted(saved.kinds.keys() - live.kinds.keys())
        if not missing and not surplus:
            return agrees(f"{len(live.kinds)} parts")
        return differs(
            f"{len(missing)} not in the checkpoint, {len(surplus)} not declared",
            *(f"{each}: declared, but not in the checkpoint" for each in missing),
            *(f"{each}: in the checkpoint, but not declared" for each in surplus),
        )
