"""The same tensors are tied.

Compares: which names share memory, part by part.

Why: a broken tie trains two tensors instead of one; a checkpoint stores tied tensors once.

Does not: compare content.
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
    differs,
)
from unbroken.checks.state_summary import StateSummary


class TiesUnchanged(Check):
    """The same tensors are tied."""

    id = "ties-unchanged"
    title = "The same tensors are tied"
    area = "model"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "A broken tie trains two tensors instead of one."
    cause = "The code no longer shares the tensor, or a load assigned copies."
    remedy = "Tie the tensors as before, before `Run(...)` is called."
    AGREES = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.aliases.head": "table"}),
            StateSummary(kinds={"m": "model"}, values={"m.aliases.head": "table"}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"m": "model"}, values={"m.aliases.head": "table"}),
            StateSummary(kinds={"m": "model"}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the aliases."""
        roots = tuple(f"{part}.aliases." for part in live.of_kind("model"))
        before, now = (
            {path: alias for path, alias in each.values.items() if path.startswith(roots)}
            for each in (saved, live)
        )
        details = [
            Difference(
                path,
                was := before.get(path),
                found := now.get(path),
                f"{path}: is tied to {found}, was tied to {was}",
            )
            for path in sorted(before.keys() | now.keys())
            if before.get(path) != now.get(path)
        ]
        if details:
            return differs(f"{len(details)} ties differ", *details)
        return agrees(f"{len(now)} ties")
