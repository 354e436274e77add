"""Every weight is the saved weight, to the last bit.

Compares: the digest (XXH3-128), shape and dtype of every parameter and buffer of the trained live
models, after all wrapping, moving and casting, with those recorded at the save.

Why: a loss curve hardly shows a tensor that was not loaded, went through bf16 or was tied again: one
reinitialised LayerNorm changes the loss by 5 %, a bf16 round trip by 0.004 %.

Does not: see what happens to the weights after this moment; the replay does. Models that no optimiser
trains, such as moving averages, are compared by `other-state-identical`.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity
from unbroken.checks.state import compare_state, modes, trained_models
from unbroken.checks.state_summary import Leaf, StateSummary


class WeightsIdentical(Check):
    """Every weight is the saved weight."""

    id = "weights-identical"
    title = "Every weight is the saved weight"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "The training would continue from other weights than the saved ones."
    cause = "The weights were loaded only in part, cast, or changed after the load."
    remedy = "Load nothing after Run.resume(), and build the model in the dtype it was saved in."
    AGREES = (
        (
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "bb")}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every tensor of every model that is trained."""
        return compare_state(saved, live, trained_models(live), modes(saved, live))
