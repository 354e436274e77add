"""Plain values (`unbroken.Values`) that a program declares now and had not when it was saved, and the reverse.

A new one begins as the program sets it, for nothing else is known of it. One that the program declares no
more stays as it was saved, for the loop may yet use it. Both are told by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from unbroken.checks.state_summary import StateSummary

OF_VALUES: Final = "values"
"""Kind of a part that holds plain values."""
AT_BIRTH: Final = "values_at_birth"
"""Name, in the evidence of a checkpoint, of the names that the program had declared at that start."""


def names_asked_for(built: StateSummary) -> dict[str, list[str]]:
    """Return by part the names of the plain values that a program declares."""
    return {part: sorted(_names(built, part)) for part in built.of_kind(OF_VALUES)}


def with_new_values(saved: StateSummary, built: StateSummary, live: StateSummary) -> StateSummary:
    """Return a saved run with the values that are new as the code built them.

    Of tensors among them the live digests: none was made as they were built.
    """
    values: dict[str, Any] = dict(saved.values)
    leaves = dict(saved.leaves)
    for part, name in _new(saved, built):
        values.pop(part, None)  # it was empty
        path = f"{part}.{name}"
        values |= {each: built.values[each] for each in _at(path, built.values)}
        leaves |= {each: live.leaves[each] for each in _at(path, live.leaves)}
    return replace(saved, values=values, leaves=leaves)


def told_of_values(saved: StateSummary, built: StateSummary) -> list[str]:
    """Say by name which values are new, and which are declared no more."""
    new = [f"{part}.{name}" for part, name in _new(saved, built)]
    before = saved.evidence.get(AT_BIRTH, {})
    gone = [
        f"{part}.{name}"
        for part, names in names_asked_for(built).items()
        for name in before.get(part, [])
        if name not in names and name in _names(saved, part)
    ]
    told = []
    if new:
        told.append(
            f"not in the checkpoint, so begun as the program sets {_it(new)}: {', '.join(new)}"
        )
    if gone:
        told.append(
            f"declared no more, and kept as saved: {', '.join(gone)} "
            "(under another name a value begins anew)"
        )
    return told


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _new(saved: StateSummary, built: StateSummary) -> list[tuple[str, str]]:
    """Return part and name of each value that is built and isn't saved."""
    return [
        (part, name)
        for part, names in names_asked_for(built).items()
        if part in saved.kinds
        for name in names
        if name not in _names(saved, part)
    ]


def _names(seen: StateSummary, part: str) -> set[str]:
    start = f"{part}."
    return {
        path.removeprefix(start).partition(".")[0]
        for path in (*seen.values, *seen.leaves)
        if path.startswith(start)
    }


def _at(path: str, paths: Mapping[str, Any]) -> list[str]:
    return [each for each in paths if each == path or each.startswith(f"{path}.")]
