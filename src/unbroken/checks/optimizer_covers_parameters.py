"""Every trained parameter has its optimiser state.

Compares: the names in each optimiser's groups with the names that have saved state.

Why: without moments the first updates are 1.3 to 1.4 times as large, and no loss shows it.

Does not: expect state before the first update, or of a parameter that had none at the save either.
"""

from __future__ import annotations

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage, agrees, differs
from unbroken.checks.state_summary import Leaf, StateSummary


class OptimizerCoversParameters(Check):
    """Every trained parameter has its optimiser state."""

    id = "optimizer-covers-parameters"
    title = "Every trained parameter has its optimiser state"
    area = "optimiser"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "Without its moments a parameter's first updates are far too large, and no loss shows it."
    cause = "The optimiser state was not saved, or was removed from the checkpoint."
    remedy = "Go back to a checkpoint that has it with Run.resume(PATH), or begin a new run from the weights."
    AGREES = (
        (
            StateSummary(
                kinds={"o": "optimizer"},
                position={"updates": 3},
                values={"o.groups.0.params.0": "m.w"},
                leaves={"o.state.m.w.exp_avg": Leaf("float32", (2,))},
            ),
            StateSummary(),
        ),
        (StateSummary(kinds={"o": "optimizer"}, position={"updates": 0}), StateSummary()),
        (
            StateSummary(
                kinds={"o": "optimizer"},
                position={"updates": 3},
                values={"o.groups.0.params": []},  # a group of none, as for decay with adapters
            ),
            StateSummary(),
        ),
    )
    DIFFERS = (
        (
            StateSummary(
                kinds={"o": "optimizer"},
                position={"updates": 3},
                values={"o.groups.0.params.0": "m.w"},
            ),
            StateSummary(),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:  # noqa: ARG002  # both by contract
        """Find parameters without state in the saved run."""
        if not saved.position.get("updates"):
            return agrees("no state yet: no update was made")
        known = set(saved.evidence.get("without_state", ()))
        expected, missing = 0, []
        for part in saved.of_kind("optimizer"):
            with_state = _named_in(saved, part)
            names = [
                name
                for path, name in saved.values.items()
                if path.startswith(f"{part}.groups.") and ".params." in path and name not in known
            ]
            expected += len(names)
            missing += [f"{part}: {name}" for name in names if str(name) not in with_state]
        if missing:
            return differs(f"{len(missing)} of {expected} without state", *missing)
        return agrees(f"{expected} parameters")


def _named_in(saved: StateSummary, part: str) -> set[str]:
    """Return every path to and above a leaf of an optimiser's state: names of parameters among them."""
    root, found = f"{part}.state.", set()
    for path in (*saved.leaves, *saved.values):
        if path.startswith(root):
            above = path.removeprefix(root)
            found.add(above)
            while (above := above.rpartition(".")[0]) and above not in found:
                found.add(above)
    return found
