"""Generators and iterators in the program's own variables that move on while it trains, undeclared.

The global generators are set for each batch; one of the program's own begins anew at each start. It is
named while it can still be declared.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Final

from torch.utils.data.dataloader import _BaseDataLoaderIter

from unbroken.audit.program_variables import program_variables
from unbroken.state.generators import generator_digest, is_generator

_log = logging.getLogger("unbroken")

LOOKS: Final = (1, 3)
"""After which batches of a start they are looked at."""


class ProgramDraws:
    """Looks at what a program keeps in variables.

    Args:
        known: What is declared, or set for each sample.
    """

    def __init__(self, known: Collection[Any]) -> None:
        others = {id(each) for each in known}
        self._named = {name: each for name, each in _variables() if id(each) not in others}
        self._marks: dict[str, str] = {}
        self._batches = 0

    def batch_done(self) -> None:
        """Look after the first batch, and after the third name what has moved on between."""
        self._batches += 1
        if self._batches == LOOKS[0]:
            self._marks = {name: _mark(each) for name, each in self._named.items()}
        elif self._batches == LOOKS[1]:
            moved = [name for name, each in self._named.items() if _mark(each) != self._marks[name]]
            for name in moved:
                _log.warning("%s", _told(name, self._named[name]))
            self._named = {}


def _variables() -> list[tuple[str, Any]]:
    """Return the generators and iterators in the program's variables, each by its first name."""
    found: dict[int, tuple[str, Any]] = {}
    for name, each in program_variables():
        if is_generator(each) or isinstance(each, _BaseDataLoaderIter):
            found.setdefault(id(each), (name, each))
    return list(found.values())


def _mark(value: Any) -> str:
    if isinstance(value, _BaseDataLoaderIter):
        return str(value._num_yielded)  # noqa: SLF001  # how far it is, which has no public name
    return generator_digest(value)


def _told(name: str, value: Any) -> str:
    if isinstance(value, _BaseDataLoaderIter):
        return (
            f"[Data] {name!r}, an iterator over a loader, moves on while the program trains. At the next "
            "start it begins anew, and the program trains on other batches than it would have. Loop over "
            "run.batches(), or draw what it gives from the position of the run."
        )
    return (
        f"[Data] {name!r}, a generator of the program's own, is drawn from while it trains. At the next "
        f"start it begins anew, and draws what was drawn before. Declare it: Run(..., {name}={name})."
    )
