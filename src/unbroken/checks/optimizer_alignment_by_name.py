"""Each optimiser has its parameters, by name, in the same groups.

Compares: class, the groups it was built with, and the names in each, in order; for the optimisers
of PyTorch itself, shapes of the moments with the shapes of the parameters (others keep what they
like). Done before loading: afterwards an optimiser carries whatever names were saved.

Why: PyTorch numbers parameters. Two of one shape that changed places swap their moments silently.

Does not: compare the moments; `optimizer-state-identical` does.
"""

from __future__ import annotations

import re

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage, agrees, differs
from unbroken.checks.state_summary import StateSummary, is_below

_ALIGNING = re.compile(
    r"(inner\.((?!(state|keyed|own|attributes|groups)\.)[^.]+\.)+)*(class|groups\.\d+\.params.*)"
)
"""Paths in an optimiser's form of its class and its groups' names; what it keeps may be called alike."""


class OptimizerAlignmentByName(Check):
    """Each optimiser has its parameters, by name."""

    id = "optimizer-alignment-by-name"
    title = "Each optimiser has its parameters, by name"
    area = "optimiser"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "Moments would go to other parameters, or be lost: the first update would differ."
    cause = "Parameters were added, removed, renamed or regrouped since the save."
    remedy = "Build the optimiser's groups as before, or begin a new run from the weights."
    AGREES = (
        (
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.params.0": "m.w"}),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.params.0": "m.w"}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.params.0": "m.w"}),
            StateSummary(kinds={"o": "optimizer"}, values={"o.groups.0.params.0": "m.v"}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare classes and names, then shapes."""
        parts = live.of_kind("optimizer")
        before, now = (
            {path: name for path, name in each.values.items() if _aligns(path, each, parts)}
            for each in (saved, live)
        )
        details = [
            f"{path}: is {now.get(path, 'gone')}, was {before.get(path, 'not there')}"
            for path in sorted(before.keys() | now.keys())
            if before.get(path) != now.get(path)
        ]
        details += _misfits(saved, live, parts)
        if details:
            return differs(f"{len(details)} differences", *details)
        names = sum(".params" in path for path in now)
        return agrees(f"{names} parameters in {len(parts)} optimisers")


def _aligns(path: str, seen: StateSummary, parts: list[str]) -> bool:
    """Say whether a path is of the class, or of a name in a group that the optimiser was built with."""
    own = next((path.removeprefix(f"{part}.") for part in parts if is_below(path, (part,))), "")
    if not _ALIGNING.fullmatch(own):
        return False
    part, _, rest = path.partition(".groups.")
    group = rest.partition(".")[0]
    is_recorded = f"{part}.built.0.0" in seen.values
    return not rest or not is_recorded or f"{part}.built.{group}.0" in seen.values


def _misfits(saved: StateSummary, live: StateSummary, parts: list[str]) -> list[str]:
    """Return the moments that should have their parameter's shape, and have another."""
    found = []
    for path, leaf in saved.leaves.items():
        for part in parts:
            name, _, kind = path.removeprefix(f"{part}.state.").rpartition(".")
            parameter = live.leaves.get(name) if path.startswith(f"{part}.state.") else None
            elementwise = kind in live.evidence.get("elementwise", {}).get(part, ())
            if parameter is not None and elementwise and leaf.shape != parameter.shape:
                found.append(f"{path}: shape {leaf.shape}, the parameter has {parameter.shape}")
    return found
