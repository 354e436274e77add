"""Every optimiser is in the saved state, to the last bit.

Compares: moments, step counters and options of every parameter, by name.

Why: a lost optimiser costs an eval loss nothing and the first update 39 %.

Does not: compare what was asked for in the code; `optimizer_options_unchanged` does.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, OnAccept, Severity, Verdict
from unbroken.checks.observation import Leaf, Observation
from unbroken.checks.state import compare_state


class OptimizerStateIdentical(Check):
    """Every optimiser is in the saved state."""

    id: ClassVar[str] = "optimizer-state-identical"
    title: ClassVar[str] = "Every optimiser is in the saved state"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = "The first update would be another one, while every loss looks well."
    cause: ClassVar[str] = "Something loaded, cast or stepped the optimiser after the restore."
    remedy: ClassVar[str] = (
        "Change nothing between Run.resume() and the first step; see the leaves below."
    )
    AGREES: ClassVar = (
        (
            Observation(kinds={"p": "optimizer"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
            Observation(kinds={"p": "optimizer"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(kinds={"p": "optimizer"}, values={"p.n": 3}),
            Observation(kinds={"p": "optimizer"}, values={"p.n": 4}),
        ),
    )

    def compare(self, saved: Observation, live: Observation) -> Verdict:
        """Compare every leaf, but for the rates that are compared with those to come."""
        return compare_state(saved, live, live.of_kind("optimizer"), _rates(saved) & _rates(live))


def _rates(observed: Observation) -> set[str]:
    """Return the paths of the groups' rates, where `learning-rate-continues` answers for them."""
    if "rates" not in observed.evidence:
        return set()
    every = [*observed.values, *observed.leaves]
    return {path for path in every if ".groups." in path and path.endswith(".lr")}
