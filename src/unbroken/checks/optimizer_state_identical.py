"""Every optimiser is in the saved state, to the last bit.

Compares: moments, step counters and options of every parameter, by name. Where only options differ,
they are named.

Why: a lost optimiser costs an eval loss nothing and the first update 39 %.

Does not: compare what was asked for in the code; `optimizer-options-unchanged` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity
from unbroken.checks.state import compare_state
from unbroken.checks.state_summary import Leaf, StateSummary


class OptimizerStateIdentical(Check):
    """Every optimiser is in the saved state."""

    id = "optimizer-state-identical"
    title = "Every optimiser is in the saved state"
    area = "optimiser"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    why = "The first update would differ, and no loss shows it."
    cause = "Something loaded, cast or stepped the optimiser after the restore."
    remedy = "Change nothing between Run.resume() and the first step; see the leaves below."
    AGREES = (
        (
            StateSummary(kinds={"p": "optimizer"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
            StateSummary(kinds={"p": "optimizer"}, leaves={"p.a": Leaf("float32", (2,), "aa")}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(kinds={"p": "optimizer"}, values={"p.n": 3}),
            StateSummary(kinds={"p": "optimizer"}, values={"p.n": 4}),
        ),
        (
            StateSummary(kinds={"p": "optimizer"}, values={"p.groups.0.eps": 1e-8}),
            StateSummary(kinds={"p": "optimizer"}, values={"p.groups.0.eps": 1e-6}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every leaf, but for the rates that are compared with those to come."""
        skip = (_rates(saved) & _rates(live)) | _built(saved) | _built(live)
        found = compare_state(saved, live, live.of_kind("optimizer"), skip)
        options = _options(each.path for each in found.differences)
        if not options:
            return found
        told = ", ".join(sorted(options))
        headline = f"CRITICAL: The optimiser's options are not the saved ones: {told}"
        return replace(found, headline=headline)


def _built(observed: StateSummary) -> set[str]:
    """Return the record of the options at the run's start; `optimizer-alignment-by-name` reads it."""
    roots = tuple(f"{part}.built." for part in observed.of_kind("optimizer"))
    return {path for path in observed.values if path.startswith(roots)} if roots else set()


def _options(paths: Iterable[str]) -> set[str]:
    """Return the names of the options that differ, where nothing else of an optimiser does."""
    names = [path.partition(".groups.")[2].split(".")[1:2] for path in paths]
    return {each for name in names for each in name} if all(names) else set()


def _rates(observed: StateSummary) -> set[str]:
    """Return the paths of the groups' rates, where `learning-rate-continues` answers for them."""
    if "rates" not in observed.evidence:
        return set()
    every = [*observed.values, *observed.leaves]
    return {path for path in every if ".groups." in path and path.endswith(".lr")}
