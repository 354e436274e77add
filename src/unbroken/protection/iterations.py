"""What a loader gives inside a protected function: the run's batches to the loop that trains.

Any other loop over it, such as a measurement without gradients, and any other loader, stays as it is.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from torch.utils.data import DataLoader


class Asked(Protocol):
    """Who decides what an iteration gives."""

    is_reading: bool
    """Whether the run itself reads at the moment."""
    handed_out: int
    """Batches of the run that were handed out in this start."""

    def batches_for(self, iteration: Iteration) -> Generator[Any] | None:
        """Return the run's batches, for a loop that trains on them; None for any other."""
        ...

    def next_of(self, batches: Generator[Any]) -> Any:
        """Return the next of the run's batches."""
        ...

    def is_asked_again(self, iteration: Iteration) -> None:
        """Take in that an iterator over the run's loader is asked after its end."""
        ...

    def is_asked_elsewhere(self, iteration: Iteration) -> None:
        """Take in that a batch is read that isn't the run's."""
        ...


class Iteration:
    """An iterator that learns at its first batch what it is.

    Args:
        loader: What is looped over.
        asked: Who decides.
        plain: Returns the iterator that the loader would have given.
    """

    def __init__(self, loader: Any, asked: Asked, plain: Callable[[], Iterator[Any]]) -> None:
        self.loader = loader
        self.steps: set[int] = set()
        """Steps of the run inside of which it was asked, where it isn't the run's."""
        self.is_done = False
        self._asked = asked
        self._make_plain = plain
        self._plain: Iterator[Any] | None = None
        self._batches: Generator[Any] | None = None

    def __iter__(self) -> Iteration:
        return self

    def __next__(self) -> Any:
        if self._batches is None and self._plain is None:
            self._batches = self._asked.batches_for(self)
            if self._batches is None:
                self._plain = self._make_plain()
        if self.is_done and self._batches is not None:
            self._asked.is_asked_again(self)
        try:
            if self._batches is not None:
                return self._asked.next_of(self._batches)
            assert self._plain is not None
            self._asked.is_asked_elsewhere(self)
            return next(self._plain)
        except StopIteration:
            self.is_done = True
            raise

    def leave(self) -> None:
        """Leave the rest of the epoch out, as a `break` does; refuse to go on later."""
        self.is_done = True
        if self._batches is not None:
            self._batches.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self._plain is None:
            raise AttributeError(name)
        return getattr(self._plain, name)


class Patches:
    """Puts iterations in place of those of the loaders' classes, and takes them off.

    Args:
        loader: The run's.
        asked: Who decides what an iteration gives.
    """

    def __init__(self, loader: Any, asked: Asked) -> None:
        self._undo: list[Callable[[], None]] = []
        self._stop_counting: Callable[[], None] = lambda: None
        for kind in dict.fromkeys((type(loader), DataLoader)):
            self._replace(kind, asked)

    def _replace(self, kind: Any, asked: Asked) -> None:
        own = vars(kind).get("__iter__")
        original = kind.__iter__

        def iterate(loader: Any) -> Iterator[Any]:
            if asked.is_reading:
                plain: Iterator[Any] = original(loader)
                return plain
            return Iteration(loader, asked, lambda: original(loader))

        kind.__iter__ = iterate

        def undo() -> None:
            if own is None:
                del kind.__iter__
            else:
                kind.__iter__ = own

        self._undo.append(undo)

    def count_from(self, first: int, asked: Asked) -> None:
        """Let `enumerate` over the run's batches count from `first`, until the first is handed out."""
        original = builtins.enumerate

        class Counted(original):  # type: ignore[valid-type, misc]  # mypy: no dynamic base class
            """Learns at its first item whether that is a batch of the run."""

            def __init__(self, *_: Any, **__: Any) -> None:
                self._shift: int | None = None

            def __next__(self) -> tuple[int, Any]:
                before = asked.handed_out
                number, item = super().__next__()
                if self._shift is None:
                    self._shift = first if asked.handed_out > before else 0
                return number + self._shift, item

        builtins.enumerate = Counted  # type: ignore[misc]  # that is what it is for

        def undo() -> None:
            if builtins.enumerate is Counted:
                builtins.enumerate = original  # type: ignore[misc]  # back as it was

        self._undo.append(undo)
        self._stop_counting = undo

    def stop_counting(self) -> None:
        """Let `enumerate` count from 0 again."""
        self._stop_counting()

    def take_off(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
