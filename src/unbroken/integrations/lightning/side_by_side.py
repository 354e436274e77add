"""The order of several loaders whose batches are handed out together, and the reading of these batches.

A place in this order is one in each loader's own. Where a loader is begun again because it ends before
the others, it has an order of its own for each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final

from xxhash import xxh3_64_hexdigest

from unbroken.errors import SettingsInvalid
from unbroken.loaders.sampled_epochs import SampledEpochs
from unbroken.loaders.seeds import AS_GIVEN
from unbroken.loaders.stream import Stream
from unbroken.state.position import Position

AGAIN: Final = 1 << 20
"""By how much the number of a loader's epoch grows each time that it is begun again within one."""

BEYOND: Final = 1 << 40
"""More batches than any epoch has."""

Place = tuple[int, int]
"""An epoch, and batches of it that are done."""


class SideBySide:
    """Order and batches of a run whose batches are made of one of each loader.

    Args:
        sides: The order and the batches of each loader.
        mode: What happens where one has no more batches, as Lightning names it.
        seed: The run's.
        length: Batches that an epoch has at most.
        shaped: Makes what the program is handed out from the batches of all loaders.

    Raises:
        SettingsInvalid: One of several loaders has no index, or an order that can't be had again.
    """

    def __init__(
        self,
        sides: Sequence[tuple[Any, Any]],
        mode: str,
        seed: int,
        length: int,
        shaped: Callable[[list[Any]], Any],
    ) -> None:
        self.seed = seed
        self.content = ""
        """Digest of the batch that was read last."""
        self.trained = ""
        """Digest of the batch that was trained last; empty where none was."""
        self.trained_at: Any = None
        """What each loader needs to read its part of that batch again; None for one without a part."""
        self.sizes: Sequence[int] = ()
        """Nothing: a step is one batch."""
        self._taken: list[bool] = []
        self._begun: int | None = None
        self._orders = [order for order, _ in sides]
        self._batches = [batches for _, batches in sides]
        self._cycles = mode == "max_size_cycle"
        self._mode = mode
        self._length = length
        self._shaped = shaped
        self._counted: dict[Place, float] = {}
        for each in self._orders if len(sides) > 1 else ():
            if isinstance(each, Stream) or not each.epochs.repeats:
                raise SettingsInvalid(
                    "One of several training loaders has no index, or batches in an order that can't "
                    "be had again.",
                    "Where it stands can't be told from the number of batches.",
                    "Give loaders over data sets with an index and samplers that draw from torch, "
                    "numpy or random; or train with this loader alone.",
                )

    @property
    def note(self) -> str:
        """What a person should know; empty for nothing."""
        return "; ".join(each.note for each in self._orders if each.note)

    @property
    def can_list_epochs(self) -> bool:
        """Whether the names of an epoch's samples can be had again: those of a loader that is alone."""
        return len(self._orders) == 1 and bool(getattr(self._orders[0], "can_list_epochs", True))

    @property
    def epochs(self) -> SampledEpochs | None:
        """The lists of a loader that is alone; None of others."""
        return getattr(self._orders[0], "epochs", None) if len(self._orders) == 1 else None

    @property
    def has_state(self) -> bool:
        """Whether the loader is alone and says itself where it stands."""
        return len(self._batches) == 1 and getattr(self._batches[0], "has_state", False)

    def state_dict(self) -> dict[str, Any]:
        """Return where a loader that is alone stands, as it says itself."""
        state: dict[str, Any] = self._batches[0].state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take in where it stood."""
        self._batches[0].load_state_dict(state)

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from."""
        found = [each.facts() for each in self._orders]
        if len(found) == 1:
            return {**found[0], "batches_per_epoch": self._length}
        return {
            "seed": self.seed,
            "effective_batch": AS_GIVEN,
            "combined": self._mode,
            "loaders": found,
            "batches_per_epoch": self._length,
        }

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take nothing over: batches of another size are refused before."""

    def steps_in(self, epoch: int) -> float:
        """Return how many batches an epoch has; infinite where no end is known."""
        counts: list[float] = [each.steps_in(epoch) for each in self._orders]
        return min(self._length, (min if self._mode == "min_size" else max)(counts))

    def at(self, position: Position) -> Sequence[int]:
        """Return a number for each sample of the batch that a run at `position` uses next.

        None before the epoch has begun.
        """
        return range(sum(len(o.at(here)) for o, here in self._sides(position)))

    def names_at(self, position: Position) -> list[str]:
        """Return the names of these samples."""
        if len(self._orders) == 1:
            names: list[str] = self._orders[0].names_at(position)
            return names
        return [
            f"{self._orders.index(order)}:{name}"
            for order, here in self._sides(position)
            for name in order.names_at(here)
        ]

    def after(self, position: Position) -> Position:
        """Return the position when the current batch is done; updates stay as they are."""
        is_last = position.batch + 1 >= self.steps_in(position.epoch)
        return replace(
            position,
            epoch=position.epoch + is_last,
            batch=0 if is_last else position.batch + 1,
            samples=0,
            step=position.step + 1,
        )

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of the next `count` samples, or of those that the epoch has left.

        None of several loaders: some of them may not have begun the list that comes next.
        """
        if len(self._orders) > 1:
            return []
        left = self.steps_in(position.epoch) - position.batch if self._begun is not None else 0
        names: list[str] = self._orders[0].next_ids(position, count)
        return names if left > 0 else []

    def take(self, position: Position) -> tuple[Any] | None:
        """Return the batch that a run at a position uses next; None where the epoch has no more."""
        self._begun = position.epoch
        if position.batch >= self.steps_in(position.epoch):
            return None
        out, digests = [], []
        for number, batches in enumerate(self._batches):
            here = self._here(number, position)
            taken = None if here is None else batches.take(here)
            if taken is None and (len(self._batches) == 1 or self._mode != "max_size"):
                return None
            out.append(None if taken is None else taken[0])
            digests.append("" if taken is None else batches.content)
        self._taken = [bool(each) for each in digests]
        self.content = _together(digests)
        return (self._shaped(out),)

    def mark_trained(self) -> None:
        """Take in that the batch that was read last is trained."""
        for batches, is_taken in zip(self._batches, self._taken, strict=True):
            if is_taken:
                batches.mark_trained()
        self.trained = self.content
        self.trained_at = [
            batches.trained_at if is_taken else None
            for batches, is_taken in zip(self._batches, self._taken, strict=True)
        ]

    def tell_epoch(self, epoch: int) -> None:
        """Tell every loader which epoch begins."""
        for each in self._batches:
            each.tell_epoch(epoch)

    def close(self) -> None:
        """Let the workers of every loader go."""
        for each in self._batches:
            each.close()

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more; return its digest, empty where it can't be."""
        self._begun = position.epoch
        if self.trained_at is None:
            return ""
        digests = []
        for number, (batches, last) in enumerate(zip(self._batches, self.trained_at, strict=True)):
            if last is None and len(self._batches) > 1:
                digests.append("")
                continue
            here = self._here(number, position)
            batches.trained_at = last
            beyond = replace(position, batch=BEYOND) if here is None else here
            if not (found := batches.read_again(beyond)):
                return ""
            digests.append(found)
        self.trained = _together(digests)
        return self.trained

    def _sides(self, position: Position) -> list[tuple[Any, Position]]:
        if self._begun != position.epoch:
            return []
        places = [(each, self._here(i, position)) for i, each in enumerate(self._orders)]
        return [(each, here) for each, here in places if here is not None]

    def _here(self, number: int, position: Position) -> Position | None:
        """Return the place in one loader's own order; None where it has no more in this epoch."""
        if len(self._orders) == 1:
            return position
        epoch, batch = position.epoch, position.batch
        while batch >= (has := self._steps_of(number, epoch)):
            if not self._cycles or has in (0, inf):
                return None
            epoch, batch = epoch + AGAIN, batch - int(has)
        return replace(position, epoch=epoch, batch=batch)

    def _steps_of(self, number: int, epoch: int) -> float:
        """Return how many batches one loader has in an epoch of its own; it is drawn once for that."""
        if (number, epoch) not in self._counted:
            self._counted = {
                key: each for key, each in self._counted.items() if key[1] % AGAIN == epoch % AGAIN
            }
            self._counted[number, epoch] = self._orders[number].steps_in(epoch)
        return self._counted[number, epoch]


def _together(digests: list[str]) -> str:
    """Return one digest of several; of one it is that."""
    return digests[0] if len(digests) == 1 else xxh3_64_hexdigest("/".join(digests).encode())
