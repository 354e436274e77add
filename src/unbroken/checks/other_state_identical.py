"""Schedule, scaler, moving average, best score and all other parts are in the saved state.

Compares: every leaf of every part except optimisers and the models they train. A model that no
optimiser trains is an average or a teacher, and is compared here.

Why: a new loss scaler skips updates, a new average is noise, a lost best score is overwritten.

Does not: know state that was never declared.
"""

from __future__ import annotations

from dataclasses import replace

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity
from unbroken.checks.declared_values import OF_VALUES
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN
from unbroken.checks.state import compare_state, modes, untrained_models
from unbroken.checks.state_summary import Leaf, StateSummary, is_below


def _with_average(digest: str) -> StateSummary:
    """Return a run with a model that an optimiser trains, and an average of it."""
    return StateSummary(
        kinds={"m": "model", "ema": "model", "o": "optimizer"},
        values={"o.groups.0.params.0": "m.w"},
        leaves={"m.w": Leaf("float32", (2,), "mm"), "ema.w": Leaf("float32", (2,), digest)},
    )


class OtherStateIdentical(Check):
    """Schedule, scaler, averages and all other parts are in the saved state."""

    id = "other-state-identical"
    title = "Schedule, scaler, averages and all other parts are in the saved state"
    area = "other state"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "A part that starts over changes the training: skipped updates, another rate, an average of noise."
    cause = "Something changed the part after the restore, or its load_state_dict drops a field."
    remedy = "Change nothing between Run.resume() and the first step; see the leaves below."
    AGREES = (
        (
            StateSummary(kinds={"p": "schedule"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
            StateSummary(kinds={"p": "schedule"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"p": "schedule"}, values={"p.n": 3}),
            StateSummary(kinds={"p": "schedule"}, values={"p.n": 4}),
        ),
        (_with_average("aa"), _with_average("bb")),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every leaf; averages and teachers are named if only they differ."""
        seconds = untrained_models(live)
        parts = [*live.of_kind(OF_RUN, OF_LOOP, "scaler", OF_VALUES, "other"), *seconds]
        found = compare_state(saved, live, parts, modes(saved, live))
        paths = [each.path for each in found.differences]
        if paths and all(is_below(each, seconds) for each in paths):
            names = ", ".join(seconds)
            headline = f"CRITICAL: An average or a teacher is not the saved one: {names}"
            return replace(found, headline=headline)
        return found
