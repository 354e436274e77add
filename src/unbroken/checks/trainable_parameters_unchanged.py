"""The same parameters are trained.

Compares: which parameters require gradients, as the code built them and as they were saved.

Why: frozen parameters would be trained, or trained ones frozen.

Does not: see single frozen rows of a table; `frozen-rows-unmoved` does.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    Stage,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary


class TrainableParametersUnchanged(Check):
    """The same parameters are trained."""

    id = "trainable-parameters-unchanged"
    title = "The same parameters are trained"
    area = "model"
    severity = Severity.CRITICAL
    on_accept = OnAccept.KEEP_SAVED
    keeps_saved = True
    stage = Stage.BEFORE
    why = "Frozen parameters would be trained, or trained ones frozen."
    cause = "The code that freezes parameters changed, or only runs when a run begins."
    remedy = "Freeze the same parameters as the run did."
    AGREES = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.requires_grad.w": True}),
            StateSummary(kinds={"m": "model"}, values={"m.requires_grad.w": True}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.requires_grad.w": False}),
            StateSummary(kinds={"m": "model"}, values={"m.requires_grad.w": True}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the flags of the parameters that both have."""
        roots = tuple(f"{part}.requires_grad" for part in live.of_kind("model"))
        now = {path: flag for path, flag in live.values.items() if path.startswith(roots)}
        both = now.keys() & saved.values.keys()
        if now and not both:
            return cannot_compare("the checkpoint does not say", severity=None)
        details = [
            Difference(
                path,
                was := saved.values[path],
                now[path],
                f"{path}: is {now[path]}, was {was}",
            )
            for path in sorted(both)
            if now[path] != saved.values[path]
        ]
        if details:
            return differs(f"{len(details)} of {len(both)} parameters", *details)
        return agrees(f"{sum(flag is True for flag in now.values())} of {len(now)} parameters")
