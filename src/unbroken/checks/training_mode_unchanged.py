"""Each submodule is in its saved mode.

Compares: the training flag of every submodule.

Why: a model left in eval mode trains without dropout, and the loss looks better than it is.

Does not: check the mode later; `unbroken.isolated` restores it after a validation.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    agrees,
    differs,
)
from unbroken.checks.state_summary import StateSummary


class TrainingModeUnchanged(Check):
    """Each submodule is in its saved mode."""

    id = "training-mode-unchanged"
    title = "Each submodule is in its saved mode"
    area = "model"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "Without dropout, or with dropout that was off, the same weights give another loss."
    cause = "model.eval() was called after the restore, or train() on a submodule that was kept in eval."
    remedy = "Don't change modes between Run.resume() and the first step, or use unbroken.isolated."
    AGREES = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.training": True}),
            StateSummary(kinds={"m": "model"}, values={"m.training": True}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.training": True}),
            StateSummary(kinds={"m": "model"}, values={"m.training": False}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the flags by submodule."""
        roots = tuple(f"{part}.training" for part in live.of_kind("model"))
        before, now = (
            {path: flag for path, flag in each.values.items() if path.startswith(roots)}
            for each in (saved, live)
        )
        details = [
            Difference(
                path,
                was := before.get(path),
                found := now.get(path),
                f"{path}: is {found}, was {was}",
            )
            for path in sorted(before.keys() | now.keys())
            if before.get(path) is not now.get(path)
        ]
        if details:
            return differs(f"{len(details)} of {len(now)} submodules", *details)
        return agrees(f"{len(now)} submodules")
