"""What is handed to a tracker for a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines
from unbroken.journal.line import JournalLine

SCORES = "scores"
"""Event of the history that keeps what was measured after a step, for trackers that lack it."""


class Row(NamedTuple):
    """Values of a completed step."""

    step: int
    values: Mapping[str, float]


def values_of(losses: Mapping[str, float], rate: float, grad_norm: float) -> dict[str, float]:
    """Return what a step came to, by the names that a tracker shows; what isn't known is left out."""
    given = {**losses, "lr": rate, "grad_norm": grad_norm}
    return numbers({name if "/" in name else f"train/{name}": each for name, each in given.items()})


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that are numbers."""
    found = {name: float(each) for name, each in values.items() if isinstance(each, int | float)}
    return {name: each for name, each in found.items() if not math.isnan(each)}


def recorded(layout: Layout, after: int, until: int) -> Iterator[Row]:
    """Yield the rows that journal and history know of the steps after `after`, up to `until`."""
    found: dict[int, dict[str, float]] = {}
    for line in _of_steps(layout.journal, after, until):
        read = JournalLine(line)  # a repeated step's last line counts
        norm = _number(line.get("grad_norm"))
        found[read.step] = values_of(read.losses, _number(read.rate), norm)
    for line in _of_steps(layout.history, after, until):
        if line.get("event") == SCORES and isinstance(line.get("values"), dict):
            found.setdefault(line["step"], {}).update(numbers(line["values"]))
    for step in sorted(found):
        yield Row(step, found[step])


def _of_steps(path: Path, after: int, until: int) -> Iterator[dict[str, Any]]:
    for line in read_lines(path):
        if isinstance(step := line.get("step"), int) and after < step <= until:
            yield line


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
