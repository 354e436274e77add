"""Batches that come one after the other: a data set without an index, or any iterable.

Where the loader has `state_dict()` and `load_state_dict()`, as torchdata's `StatefulDataLoader` and the
streams of Hugging Face have, a resume goes on by them. Otherwise it reads the epoch's batches again from
the first one and drops those that are done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken.loaders.content import content_digest
from unbroken.loaders.ended_workers import end_workers
from unbroken.loaders.found_generators import generators_in
from unbroken.loaders.seeds import AS_GIVEN, LOADER_SCHEME, fetch_seed, order_seed, seed_all
from unbroken.state.position import Position
from unbroken.state.randomness import seed_everything

_log = logging.getLogger("unbroken")


class Stream:
    """The order of a run, and its batches, where nobody knows them before they are read.

    Args:
        loader: Gives a new iterator over the batches of an epoch each time.
        seed: The run's.
        repeats: Whether an epoch that is read again must give the same batches.
    """

    can_list_epochs = False
    """A batch is named by its place."""

    def __init__(self, loader: Any, seed: int, *, repeats: bool) -> None:
        self.seed = seed
        self.content = ""
        """Digest of the batch that was read last; empty where none was."""
        self.trained = ""
        """Digest of the batch that was trained last; empty where none was."""
        self.trained_at: Any = None
        """Nothing: a batch can't be read again alone."""
        self.sizes: Sequence[int] = ()
        """Nothing: a step is one batch."""
        self._loader = loader
        self._repeats = repeats
        self._source = _with_state(loader)
        self._generators = generators_in(loader)
        self._told: int | None = None
        self._iterator: Iterator[Any] | None = None
        self._next: tuple[int, int] | None = None
        self._saved: tuple[tuple[int, int], Any] | None = None
        self._ended: dict[int, int] = {}

    @property
    def note(self) -> str:
        """What a person should know; empty for nothing."""
        if self._source is not None:
            return ""
        return (
            f"{type(self._loader).__name__} has no index and no state_dict(): a resume reads the "
            "batches of the epoch that are done again, and drops them"
        )

    @property
    def has_state(self) -> bool:
        """Whether a resume goes on by the loader's own state."""
        return self._source is not None

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as it says itself."""
        if self._next is None or self._source is None or self._iterator is None:
            return {"place": None, "state": None} if self._saved is None else _form(*self._saved)
        return _form(self._next, self._source.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take in where the loader stood; it is told when the next batch is asked for."""
        place = state["place"]
        self._saved = None if place is None else ((place[0], place[1]), state["state"])
        self._iterator, self._next = None, None

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from."""
        facts = {
            "loader_scheme": LOADER_SCHEME,
            "seed": self.seed,
            "effective_batch": AS_GIVEN,
        }
        size = getattr(self._loader, "batch_size", None)
        return {**facts, "stream_batch": size} if isinstance(size, int) else facts

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take nothing over."""
        del saved, position

    def steps_in(self, epoch: int) -> float:
        """Return how many batches an epoch has, where its end was met; else no end is known."""
        return self._ended.get(epoch, inf)

    def at(self, position: Position) -> Sequence[int]:
        """Return a number for the batch as a whole."""
        del position
        return (0,)

    def names_at(self, position: Position) -> list[str]:
        """Return the name of a batch: its place."""
        return [f"batch {position.batch} of epoch {position.epoch}"]

    def after(self, position: Position) -> Position:
        """Return the position when the current batch is done; the epoch's end shows in reading."""
        return replace(position, batch=position.batch + 1, samples=0, step=position.step + 1)

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of the next batches, as if the epoch had no end."""
        here = (replace(position, batch=position.batch + i) for i in range(count))
        return [self.names_at(each)[0] for each in here]

    def take(self, position: Position) -> Any:
        """Return the batch that a run at a position uses next; None where the epoch has no more.

        Raises:
            DataInvalid: The loader gives no batch, or fewer than before the stop; or the first batch of
                a run differs when it is read once more.
        """
        place = (position.epoch, position.batch)
        first = self._first_of_run(place)
        if self._next != place:
            self._begin(place)
        batch = self._fetch(place)
        if first is not None and batch is not None and content_digest(batch[0]) != first:
            raise _does_not_repeat(self._loader)
        if batch is None:
            self._ended[place[0]] = place[1]
            self._iterator = None
            if place[1] == 0:
                raise _is_empty(self._loader)
            return None
        self.content = content_digest(batch[0])
        self._next = (place[0], place[1] + 1)
        return batch

    def _first_of_run(self, place: tuple[int, int]) -> str | None:
        """Read the first batch of a run, where no state says where it stands; return its digest.

        It is read once more then: a resume has to read from the first batch on.
        """
        if place != (0, 0) or self._next is not None or self.has_state or not self._repeats:
            return None
        self._begin(place)
        batch = self._fetch(place)
        end_workers(self._iterator)
        self._next = None
        return None if batch is None else content_digest(batch[0])

    def read_again(self, position: Position) -> str:
        """Begin to read where the run stands; return the digest of the last batch that was dropped.

        Empty where none was: the loader went on by its own state.
        """
        place = (position.epoch, position.batch)
        self._begin(place)
        return self.trained if self._repeats else ""

    def mark_trained(self) -> None:
        """Take in that the batch that was read last is trained."""
        self.trained = self.content

    def tell_epoch(self, epoch: int) -> None:
        """Tell loader and data set which epoch begins, where they want to know; the loop may tell otherwise."""
        self._told = epoch
        owners: tuple[Any, Any] = (self._loader, getattr(self._loader, "dataset", None))
        for each in owners:
            if hasattr(each, "set_epoch"):
                each.set_epoch(epoch)

    def close(self) -> None:
        """Let the workers go."""
        end_workers(self._iterator)
        self._iterator, self._next = None, None

    def _begin(self, place: tuple[int, int]) -> None:
        self._iterator, self.trained = None, ""
        seed_all(order_seed(self.seed, place[0]), self._generators)
        if self._told != place[0]:
            self.tell_epoch(place[0])
        if self._saved is not None and self._saved[0] == place:
            self._source.load_state_dict(self._saved[1])
            self._iterator = iter(self._loader)
        else:
            self._iterator = iter(self._loader)
            self._drop(place)
        self._saved, self._next = None, place

    def _drop(self, place: tuple[int, int]) -> None:
        """Read and drop the batches of the epoch that are done."""
        began, batch = time.monotonic(), None
        for number in range(place[1]):
            batch = self._fetch((place[0], number))
            if batch is None:
                raise _is_shorter(number, place)
        if batch is not None:
            self.trained = content_digest(batch[0])
            seconds = time.monotonic() - began
            _log.info(
                "%d batches of epoch %d were read again and dropped, in %.1f s.",
                place[1], place[0], seconds,
            )  # fmt: skip

    def _fetch(self, place: tuple[int, int]) -> tuple[Any] | None:
        assert self._iterator is not None
        seed_everything(fetch_seed(self.seed, *place))
        with suppress(StopIteration):
            return (next(self._iterator),)
        return None


def _form(place: tuple[int, int], state: Any) -> dict[str, Any]:
    return {"place": list(place), "state": state}


def _with_state(loader: Any) -> Any:
    """Return what says where a loader stands; None where nothing does.

    A data set's own state is read here only where no worker reads ahead of it.
    """

    def has_both(each: Any) -> bool:
        return hasattr(each, "state_dict") and hasattr(each, "load_state_dict")

    if has_both(loader):
        return loader
    dataset = getattr(loader, "dataset", None)
    return dataset if has_both(dataset) and not getattr(loader, "num_workers", 0) else None


def _does_not_repeat(loader: Any) -> DataInvalid:
    return DataInvalid(
        f"The {type(loader).__name__} gives another first batch when it is read again.",
        "A resume has to read the epoch again, and would train on other batches: it was shuffled or drawn "
        "with what is no function of the seed, such as the time or the number of the process.",
        "Give its shuffling a seed, such as shuffle(..., seed=1) of webdataset, begin at the "
        "same place in each `__iter__`, or let it pass with Run(data_repeats=False).",
    )


def _is_empty(loader: Any) -> DataInvalid:
    return DataInvalid(
        f"The {type(loader).__name__} gives no batch.",
        "There is nothing to train on.",
        "Give it samples; an iterator that is used up gives none, and what makes a new one each time "
        "does.",
    )


def _is_shorter(number: int, place: tuple[int, int]) -> DataInvalid:
    return DataInvalid(
        f"Epoch {place[0]} ends after {number} batches; {place[1]} of it were trained before the stop.",
        "The data are not what they were, and the run can't go on where it stood.",
        "Put the data back, or begin a new run from the weights.",
    )


def require_iterable(loader: Any) -> None:
    """Refuse what gives its batches once only, or none.

    Raises:
        SettingsInvalid: It is an iterator, a data set, a dict, or nothing to be iterated over.
    """
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise SettingsInvalid(
            f"Run(data=) is a {type(loader).__name__}, a data set and no loader.",
            "Its samples would be taken for batches.",
            "Give DataLoader(dataset, batch_size=..., shuffle=True), or what makes its batches.",
        )
    if isinstance(loader, Mapping):
        raise SettingsInvalid(
            "Run(data=) is a dict.",
            "Its keys would be taken for batches.",
            "Give the one loader that is trained on; others are the loop's own.",
        )
    if callable(loader) and not hasattr(loader, "__iter__"):
        raise SettingsInvalid(
            "Run(data=) is a function.",
            "It is not known what it is to be called with.",
            "Call it, and give what it returns: an object that is iterated over once an epoch.",
        )
    if isinstance(loader, Iterator):
        raise SettingsInvalid(
            f"Run(data=) is a {type(loader).__name__}, which gives its batches once.",
            "A resume could not read the epoch again, and a second epoch would be empty.",
            "Give the loader itself, or an object whose __iter__ makes a new iterator.",
        )
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise SettingsInvalid(
            f"Run(data=) is a {type(loader).__name__}, which gives no batches.",
            "There is nothing to train on.",
            "Give a DataLoader, or any object that is iterated over once an epoch.",
        )
