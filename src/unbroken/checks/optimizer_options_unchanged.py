"""The optimiser is built with the options it was saved with.

Compares: weight decay, betas, eps and all other options of each group, as the code builds them now
and as it built them when the run began. A schedule may well have moved some since (a cycled
momentum): the saved ones go on. Learning rates are compared here where the run has no schedule.

Why: loading silently overrules what the code asks for; the person who changed it never learns.

Does not: compare the class; the alignment does.
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
    differs,
)
from unbroken.checks.state_summary import StateSummary


class OptimizerOptionsUnchanged(Check):
    """The optimiser's options are the saved ones."""

    id = "optimizer-options-unchanged"
    title = "The optimiser's options are the saved ones"
    area = "optimiser"
    severity = Severity.WARNING
    on_accept = OnAccept.TAKE_NEW
    keeps_saved = True
    stage = Stage.BEFORE
    follows_from = ("settings-unchanged",)
    why = "The checkpoint's options overrule those in the code: a change would have no effect."
    cause = "Weight decay, betas or eps were changed in the code or the settings."
    remedy = "To keep the saved ones, no action is needed."
    AGREES = (
        (
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
        ),
        (
            StateSummary(
                kinds={"o": "optimizer"},
                values={"o.groups.0.momentum": 0.87},
                evidence={"options_at_birth": {"o.groups.0.momentum": 0.95}},
            ),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.momentum": 0.95}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.1}),
        ),
        (
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.lr": 0.01}),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.lr": 0.02}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the options that both sides have."""
        before, now = options_asked_for(saved), options_asked_for(live)
        both = sorted(before.keys() & now.keys())
        details = [
            Difference(path, before[path], now[path], f"{path}: is {now[path]}, was {before[path]}")
            for path in both
            if repr(now[path]) != repr(before[path])
        ]
        if details:
            return differs(
                str(details[0]) if len(details) == 1 else f"{len(details)} differ", *details
            )
        return agrees(f"{len(both)} options")


def changed_options(saved: StateSummary, built: StateSummary) -> set[str]:
    """Return the paths of the options that the code asks for now and did not before."""
    before, now = options_asked_for(saved), options_asked_for(built)
    return {path for path in before.keys() & now.keys() if repr(now[path]) != repr(before[path])}


def options_asked_for(seen: StateSummary) -> dict[str, Any]:
    """Return by path the options that the code asked for, as far as that is known."""
    born: dict[str, Any] | None = seen.evidence.get("options_at_birth")
    if born is not None:
        return born
    roots = tuple(f"{part}.groups." for part in seen.of_kind("optimizer"))
    elsewhere = (".lr", ".initial_lr") if seen.of_kind("schedule") else (".initial_lr",)
    return {
        path: each
        for path, each in seen.values.items()
        if path.startswith(roots) and ".params" not in path and not path.endswith(elsewhere)
    }
