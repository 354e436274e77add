"""Compares every leaf of restored state, bit for bit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unbroken.checks.check import CheckResult, Difference, agrees, differs
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import ABSENT


def compare_state(
    saved: StateSummary, live: StateSummary, parts: Collection[str], skip: Collection[str] = ()
) -> CheckResult:
    """Compare the tensors and values of parts by path.

    Args:
        saved: As it was.
        live: As it is.
        parts: Names of the parts.
        skip: Paths that another check compares.
    """
    before, now = _below(saved, parts, skip), _below(live, parts, skip)
    every = sorted(before.keys() | now.keys())
    pairs = [(path, before.get(path, ABSENT), now.get(path, ABSENT)) for path in every]
    found = [_difference(*each) for each in pairs if repr(each[1]) != repr(each[2])]
    if found:
        return differs(f"{len(found)} of {len(every)} leaves differ", *found)
    return agrees(f"{len(before)} leaves identical")


def trained_models(observed: StateSummary) -> list[str]:
    """Return the models that an optimiser trains; all models if no optimiser names its parameters."""
    updated = {
        str(name)
        for path, name in observed.values.items()
        if ".params." in path and is_below(path, observed.of_kind("optimizer"))
    }
    models = observed.of_kind("model")
    found = [each for each in models if any(is_below(name, (each,)) for name in updated)]
    return found or models


def untrained_models(observed: StateSummary) -> list[str]:
    """Return the models that no optimiser trains: moving averages, teachers."""
    trained = trained_models(observed)
    return [each for each in observed.of_kind("model") if each not in trained]


def modes(*observed: StateSummary) -> set[str]:
    """Return the paths of what tells how a module stands, not what it holds.

    Its training modes, the forms that its tensors were born with, and the versions of its classes.
    """
    return {
        path
        for each in observed
        for part in each.of_kind("model")
        for path in each.values
        if path.startswith((f"{part}.training", f"{part}.born.", f"{part}.metadata."))
    }


def _below(observed: StateSummary, parts: Collection[str], skip: Collection[str]) -> dict[str, Any]:
    every: dict[str, Any] = {**observed.values, **observed.leaves}
    return {
        path: each for path, each in every.items() if is_below(path, parts) and path not in skip
    }


def _difference(path: str, saved: Any, live: Any) -> Difference:
    if saved is ABSENT:
        text = "is not in the checkpoint"
    elif live is ABSENT:
        text = "is gone"
    elif str(saved) != str(live):
        text = f"is {str(live)[:60]}, was {str(saved)[:60]}"
    else:
        text = f"has other content ({str(live)[:60]})"
    return Difference(path, saved, live, f"{path}: {text}")
