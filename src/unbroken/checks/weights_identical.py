"""Every weight is the saved weight, to the last bit.

Compares: the digest (XXH3-128), shape and dtype of every parameter and buffer of the live models,
after all wrapping, moving and casting, with what was captured at the save.

Why: a tensor that was not loaded, went through bf16 or was tied anew hides in a loss curve: one
LayerNorm initialised anew costs 5 %, a bf16 round trip 0.004 %.

Does not: see what happens to the weights after this moment; the replay does.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, OnAccept, Severity, Verdict
from unbroken.checks.observation import Leaf, Observation
from unbroken.checks.state import compare_state


class WeightsIdentical(Check):
    """Every weight is the saved weight."""

    id: ClassVar[str] = "weights-identical"
    title: ClassVar[str] = "Every weight is the saved weight"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    why: ClassVar[str] = (
        "The model would train on from other weights than the ones that were saved."
    )
    cause: ClassVar[str] = (
        "The weights were loaded only in part, cast on the way, or changed after the load."
    )
    remedy: ClassVar[str] = (
        "Load nothing after Run.resume(), and build the model in the dtype it was saved in."
    )
    AGREES: ClassVar = (
        (
            Observation(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
            Observation(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "aa")}),
            Observation(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2,), "bb")}),
        ),
    )

    def compare(self, saved: Observation, live: Observation) -> Verdict:
        """Compare every tensor of every model."""
        return compare_state(saved, live, live.of_kind("model"), modes(live))


def modes(live: Observation) -> set[str]:
    """Return the training modes, which say how a module stands, not what it holds."""
    roots = tuple(f"{part}.training" for part in live.of_kind("model"))
    return {path for path in live.values if path.startswith(roots)}
