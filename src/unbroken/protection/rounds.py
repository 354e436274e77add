"""The rounds of a loop: how many there are, where they begin, and which are left."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

_END: Final = object()


class Rounds:
    """Goes through what a loop is over.

    Args:
        rounds: What it is over: a range, a list, a progress bar over one, or a count without an end.
    """

    def __init__(self, rounds: Iterable[Any]) -> None:
        try:
            self.until = len(rounds)  # type: ignore[arg-type]  # a TypeError tells
        except TypeError:
            self.until = sys.maxsize
        """How many there are; more than any where no end is known."""
        values = iter(rounds)
        first = next(values, _END)
        self._values: Iterator[Any] = values if first is _END else chain([first], values)
        self.first = first if isinstance(first, int | float | str) else None
        """With what it begins, where that is a plain value."""

    def leave_out(self, done: int) -> None:
        """Leave out the rounds that are done."""
        for _ in range(done):
            next(self._values, None)

    def beside(self, numbers: Iterable[Any]) -> Iterator[Any]:
        """Yield a round for each number, until one of them ends."""
        for _ in numbers:
            if (value := next(self._values, _END)) is _END:
                return
            yield value
