"""What a run asks its order, and what it reads batches from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

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
    trained_at: Any
    """What is needed to read that batch again, as plain values; None where it can't be."""

    def take(self, position: Position) -> tuple[Any] | None:
        """Return the batch that a run at a position uses next; None where the epoch has no more."""
        ...

    def mark_trained(self) -> None:
        """Take in that the batch that was read last is trained."""
        ...

    def tell_epoch(self, epoch: int) -> None:
        """Tell who wants to know which epoch begins; the loop may tell otherwise after it."""
        ...

    def close(self) -> None:
        """Let workers go."""
        ...

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more; return its digest, empty where it can't be."""
        ...


@runtime_checkable
class OrderedData(Protocol):
    """What `Run(data=...)` takes beside loaders: data that say themselves in which order they come."""

    def order_and_batches(self, seed: int, *, repeats: bool) -> tuple[Order, Batches]:
        """Return the order of a run, and where its batches are read.

        Args:
            seed: The run's.
            repeats: Whether a batch that is read again must hold the same.
        """
        ...
