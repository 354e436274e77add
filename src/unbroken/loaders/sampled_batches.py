"""The batches of a loader over a data set with an index, from any place on.

They come from a copy of the loader that differs in two things: its list of batches begins where the run
stands, and each sample sets the generators for itself. So the number of workers, prefetching and where
the run was stopped change nothing. The program's own loader stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

from unbroken.errors import DataInvalid
from unbroken.loaders.content import content_digest
from unbroken.loaders.sampled_epochs import SampledEpochs
from unbroken.loaders.seeded_samples import SampleKey, draws_nothing, seeded
from unbroken.loaders.seeds import Draws, fetch_seed, order_seed, sample_seed
from unbroken.state.position import Position
from unbroken.state.randomness import seed_everything

Place = tuple[int, int]
"""An epoch, and batches of it that are done."""


class SampledBatches:
    """Reads the batches of a run.

    Args:
        loader: Of PyTorch's class or one derived from it.
        epochs: The lists of its batches.
        seed: The run's.
        repeats: Whether a batch that is read twice must be the same.
    """

    def __init__(self, loader: Any, epochs: SampledEpochs, seed: int, *, repeats: bool) -> None:
        self.content = ""
        """Digest of the batch that was read last; empty where none was."""
        self.trained = ""
        """Digest of the batch that was trained last; empty where none was."""
        self.trained_at: Place | None = None
        """Where that batch is in the order."""
        self._loader = loader
        self._epochs = epochs
        self._seed = seed
        self._is_to_be_compared = repeats
        self._keys = _Keys(epochs, seed, draws=not draws_nothing(loader.dataset))
        self._reader = _reader(loader, self._keys)
        self._iterator: Iterator[Any] | None = None
        self._next: Place | None = None

    def take(self, position: Position) -> Any:
        """Return the batch that a run at a position uses next; None where the epoch has no more.

        Raises:
            DataInvalid: The first batch of a run differs when it is read once more.
        """
        place = (position.epoch, position.batch)
        if self._epochs.of(position.epoch).at(position.batch) is None:
            return None
        first = None
        if self._next != place:
            self._begin(place, place if self._is_to_be_compared else None)
            if self._is_to_be_compared:
                first = content_digest(self._fetch(place))
        batch = self._fetch(place)
        self.content = content_digest(batch)
        if first not in (None, self.content):
            raise _does_not_repeat(self._loader.dataset)
        self._is_to_be_compared = False
        self._next = (position.epoch, position.batch + 1)
        return (batch,)

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more, and then from a position on.

        Returns:
            Its digest; empty where there is none.
        """
        last = self.trained_at
        if last is None or not self._is_to_be_compared:
            return ""
        self._is_to_be_compared = False
        self._begin((position.epoch, position.batch), last)
        self.trained = content_digest(self._fetch(last))
        return self.trained

    def _begin(self, place: Place, before: Place | None) -> None:
        """Begin to read at a place; another batch is read before it."""
        self._iterator, self._next = None, place  # the workers of an epoch that was left end here
        self._keys.begin(place, before)
        generators = [] if self._loader.generator is None else [self._loader.generator]
        with Draws(order_seed(self._seed, place[0]), generators).going_on():
            self._iterator = iter(self._reader)

    def _fetch(self, place: Place) -> Any:
        assert self._iterator is not None
        seed_everything(fetch_seed(self._seed, *place))
        return next(self._iterator)


class _Keys:
    """What the data set is asked for: the batches of an epoch from a place on."""

    def __init__(self, epochs: SampledEpochs, seed: int, *, draws: bool) -> None:
        self._epochs = epochs
        self._seed = seed
        self.draws = draws
        self._place: Place = (0, 0)
        self._before: Place | None = None

    def begin(self, place: Place, before: Place | None) -> None:
        """Begin at a place, after a batch from somewhere else."""
        self._place, self._before = place, before

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys of each batch, or of what the data set calls a batch."""
        epoch, first = self._place
        before = [] if self._before is None else [self._before]
        for place in chain(before, ((epoch, number) for number in count(first))):
            drawing = self._epochs.of(place[0])
            if (batch := drawing.at(place[1])) is None:
                return
            start = drawing.start_of(place[1])
            keys = [self._key(place[0], start + i, index) for i, index in enumerate(batch)]
            yield keys if self._epochs.is_batched else keys[0]

    def __len__(self) -> int:
        """Return how many batches a whole epoch has."""
        return len(self._epochs.of(self._place[0]).all())

    def _key(self, epoch: int, place: int, index: Any) -> Any:
        if not self.draws:
            return index
        return SampleKey(sample_seed(self._seed, epoch, place, index), index)


def _reader(loader: Any, keys: _Keys) -> Any:
    """Return the copy of a loader that is read."""
    made = copy.copy(loader)
    own = made.__dict__  # PyTorch refuses to have them set
    own["batch_sampler" if loader.batch_sampler is not None else "sampler"] = keys
    own["_iterator"] = None
    if keys.draws:
        own["dataset"] = seeded(loader.dataset)
    return made


def _does_not_repeat(dataset: Any) -> DataInvalid:
    return DataInvalid(
        f"The first batch of {type(dataset).__name__} was read twice, and the second was another one.",
        "A resumed run would train on other samples than the run that was not stopped. Nothing was "
        "trained.",
        "Have the data set draw from torch, numpy or random, whose generators are set for each sample, "
        "not from the clock, the system or what it keeps from sample to sample; or give "
        "Run(..., data_repeats=False), and no resume is compared by content.",
    )
