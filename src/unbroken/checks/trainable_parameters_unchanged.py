"""The same parameters are trained.

Compares: which parameters require gradients, as the code builds them now and as it built them when the
run began. What the loop has frozen or unfrozen since is state, and goes on.

Why: frozen parameters would be trained, or trained ones frozen.

Does not: see single frozen rows of a table; `frozen-rows-unmoved` does.
"""

from __future__ import annotations

from typing import Any

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

AT_BIRTH = "trained_at_birth"
"""Name of the flags, in the evidence of a checkpoint."""


def flags_built(seen: StateSummary) -> dict[str, Any]:
    """Return by path which parameters require gradients as the code built them, as far as that is known."""
    born: dict[str, Any] | None = seen.evidence.get(AT_BIRTH)
    if born is not None:
        return born
    roots = tuple(f"{part}.requires_grad" for part in seen.of_kind("model"))
    return {path: flag for path, flag in seen.values.items() if path.startswith(roots)}


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
        before, now = flags_built(saved), flags_built(live)
        both = now.keys() & before.keys()
        if now and not both:
            return cannot_compare("the checkpoint does not say", severity=None)
        details = [
            Difference(
                path,
                was := before[path],
                now[path],
                f"{path}: is {now[path]}, was {was}",
            )
            for path in sorted(both)
            if now[path] != before[path]
        ]
        if details:
            return differs(f"{len(details)} of {len(both)} parameters", *details)
        return agrees(f"{sum(flag is True for flag in now.values())} of {len(now)} parameters")
