"""The order of a loop that draws its own batches: steps without names, in one epoch without end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from unbroken.loaders.seeds import AS_GIVEN
from unbroken.state.position import Position


class Iterations:
    """Steps, each of which draws what it trains on from the generators that are set for it.

    Args:
        seed: The run's.
    """

    note = ""
    can_list_epochs = False
    """A step is named by its number."""
    content = trained = ""
    sizes: Sequence[int] = ()
    trained_at: Any = None

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from."""
        return {"seed": self.seed, "effective_batch": AS_GIVEN}

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take nothing over."""
        del saved, position

    def steps_in(self, epoch: int) -> float:
        """Return how many steps an epoch has: no end is known."""
        del epoch
        return inf

    def at(self, position: Position) -> Sequence[int]:
        """Return a number for what a step trains on as a whole."""
        del position
        return (0,)

    def names_at(self, position: Position) -> list[str]:
        """Return the name of what a step trains on."""
        return [f"iteration {position.step}"]

    def after(self, position: Position) -> Position:
        """Return the position when the current step is done; updates stay as they are."""
        return replace(position, batch=position.batch + 1, samples=0, step=position.step + 1)

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of what the next `count` steps train on."""
        return [f"iteration {position.step + i}" for i in range(count)]

    def take(self, position: Position) -> tuple[int]:
        """Return the number of the step, from 0."""
        return (position.step,)

    def mark_trained(self) -> None:
        """Do nothing: what the loop draws is not seen here."""

    def tell_epoch(self, epoch: int) -> None:
        """Do nothing: there is one epoch."""

    def close(self) -> None:
        """Do nothing: nothing is read."""

    def read_again(self, position: Position) -> str:
        """Return nothing: what the loop draws is not seen here."""
        del position
        return ""
