"""What Lightning is given in place of the program's training loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from unbroken.integrations.lightning.loaders import TrainingData


class GivesBatches(Protocol):
    """Where the batches come from."""

    def next_batch(self) -> Any:
        """Return the next batch of the epoch."""
        ...


class EpochIterator(Iterator[Any]):
    """Asks for each batch when Lightning does; making one reads nothing.

    Args:
        fit: Where the batches come from.
    """

    def __init__(self, fit: GivesBatches) -> None:
        self._fit = fit

    def __next__(self) -> Any:
        """Return the next batch."""
        return self._fit.next_batch()


class TrainLoader:
    """Has the batches of the run, and every other attribute of the program's own loader.

    Args:
        data: The program's loaders.
        fit: Where the batches come from.
    """

    def __init__(self, data: TrainingData, fit: GivesBatches) -> None:
        self.__dict__["_data"] = data
        self.__dict__["_fit"] = fit

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch."""
        return EpochIterator(self._fit)

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        length: int = self._data.length
        return length

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the program's loader, but for its own state: the run keeps that."""
        if name.startswith("_") or name in ("state_dict", "load_state_dict"):
            raise AttributeError(name)
        return getattr(self.__dict__["_data"].given, name)
