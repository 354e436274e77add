"""Schedule, scaler, moving average, best score and all other parts are in the saved state.

Compares: every leaf of every part that is neither a model nor an optimiser.

Why: a fresh loss scaler skips updates, a fresh average is noise, a lost best score is overwritten.

Does not: know state that was never declared.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, OnAccept, Severity, Verdict
from unbroken.checks.observation import Leaf, Observation
from unbroken.checks.state import compare_state


class OtherStateIdentical(Check):
    """Schedule, scaler and all other parts are in the saved state."""

    id: ClassVar[str] = "other-state-identical"
    title: ClassVar[str] = "Schedule, scaler and all other parts are in the saved state"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = (
        "A part that begins anew changes the steps that follow: skipped updates, another rate, a lost best."
    )
    cause: ClassVar[str] = (
        "Something changed the part after the restore, or its load_state_dict drops a field."
    )
    remedy: ClassVar[str] = (
        "Change nothing between Run.resume() and the first step; see the leaves below."
    )
    AGREES: ClassVar = (
        (
            Observation(kinds={"p": "schedule"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
            Observation(kinds={"p": "schedule"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(kinds={"p": "schedule"}, values={"p.n": 3}),
            Observation(kinds={"p": "schedule"}, values={"p.n": 4}),
        ),
    )

    def compare(self, saved: Observation, live: Observation) -> Verdict:
        """Compare every leaf."""
        return compare_state(saved, live, live.of_kind("schedule", "scaler", "other"))
