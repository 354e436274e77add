"""What a run asks its order, and what it reads batches from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from unbroken.state.position import Position


class Order(Protocol):
    """Which samples a step uses: a function of seed and position."""

    seed: int

    @property
    def note(self) -> str:
        """What a person should know of it at the start; empty for nothing."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from."""
        ...

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take over what a saved order went through; `saved` are its facts."""
        ...

    def steps_in(self, epoch: int) -> float:
        """Return how many steps an epoch has; infinite where no end is known."""
        ...

    def at(self, position: Position) -> Any:
        """Return the numbers of the samples that the step at a position uses, (N,)."""
        ...

    def names_at(self, position: Position) -> list[str]:
        """Return the names of these samples."""
        ...

    def after(self, position: Position) -> Position:
        """Return the position when the current step is done; updates stay as they are."""
        ...

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of the next samples, at most `count`."""
        ...


class Batches(Protocol):
    """Where the batches of `run.batches()` come from."""

    content: str
    """Digest of the batch that was read last; empty where that isn't known."""
    trained: str
    """Digest of the batch that was trained last; empty likewise."""
    sizes: Sequence[int]
    """Samples of each batch of the step that was read last; empty where the step is one batch."""
    trained_at: tuple[int, int] | None
    """Epoch and number of that batch; None where nothing was trained."""

    def take(self, position: Position) -> tuple[Any] | None:
        """Return the batch that a run at a position uses next; None where the epoch has no more."""
        ...

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more; return its digest, empty where it can't be."""
        ...

    def close(self) -> None:
        """Read no more: the workers of a loader end."""
        ...
