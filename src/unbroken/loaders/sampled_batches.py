"""The batches of a loader over a data set with an index, from any place on.

They come from a copy of the loader that differs in two things: its list of batches begins where the run
stands, and each sample sets the generators for itself. So the number of workers, prefetching and where
the run was stopped change nothing. The program's own loader stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Any

from torch.utils.data import default_collate, default_convert

from unbroken.errors import DataInvalid
from unbroken.loaders.content import content_digest
from unbroken.loaders.sampled_epochs import SampledEpochs
from unbroken.loaders.seeded_samples import SampleKey, draws_nothing, seeded
from unbroken.loaders.seeds import Draws, fetch_seed, order_seed, sample_seed
from unbroken.state.position import Position
from unbroken.state.randomness import seed_everything

Place = tuple[int, int]
"""An epoch, and batches of it, or steps, that are done."""


class SampledBatches:
    """Reads the batches of a run.

    Args:
        loader: Of PyTorch's class or one derived from it.
        epochs: The lists of its batches.
        seed: The run's.
        repeats: Whether a batch that is read twice must be the same.
        per_step: Batches of a step; None for one that is handed out as it is, otherwise they are
            handed out as a list.
    """

    def __init__(
        self,
        loader: Any,
        epochs: SampledEpochs,
        seed: int,
        *,
        repeats: bool,
        per_step: int | None = None,
    ) -> None:
        self.content = ""
        """Digest of what was read last for a step; empty where nothing was."""
        self.trained = ""
        """Digest of what was trained last; empty where nothing was."""
        self.trained_at: Place | None = None
        """Where that is in the order: epoch and number of the step."""
        self.sizes: Sequence[int] = ()
        """Samples of each batch that was read last for a step."""
        self._per_step = per_step
        self._loader = loader
        self._epochs = epochs
        self._seed = seed
        self._is_to_be_compared = repeats
        self._keys = _Keys(epochs, seed, draws=not _draws_nothing(loader))
        self._reader = _reader(loader, self._keys)
        self._iterator: Iterator[Any] | None = None
        self._next: Place | None = None

    def take(self, position: Position) -> Any:
        """Return the batch that a run at a position uses next; None where the epoch has no more.

        Raises:
            DataInvalid: The first batch of a run differs when it is read once more.
        """
        places = self._places(position.epoch, position.batch)
        if not places:
            return None
        first = None
        if self._next != places[0]:
            self._begin(places[0], places[:1] if self._is_to_be_compared else [])
            if self._is_to_be_compared:
                first = content_digest(self._fetch(places[0]))
        batches = [self._fetch(each) for each in places]
        if first not in (None, content_digest(batches[0])):
            raise _does_not_repeat(self._loader.dataset)
        self._is_to_be_compared = False
        self._next = (position.epoch, places[-1][1] + 1)
        drawing = self._epochs.of(position.epoch)
        self.sizes = [len(drawing.at(number) or ()) for _, number in places]
        step = batches[0] if self._per_step is None else batches
        self.content = content_digest(step)
        return (step,)

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more, and then from a position on.

        Returns:
            Its digest; empty where there is none.
        """
        last = self.trained_at
        if last is None or not self._is_to_be_compared:
            return ""
        self._is_to_be_compared = False
        before = self._places(*last)
        self._begin((position.epoch, position.batch * (self._per_step or 1)), before)
        batches = [self._fetch(each) for each in before]
        self.trained = content_digest(batches[0] if self._per_step is None else batches)
        return self.trained

    def close(self) -> None:
        """Read no more: the workers end, those as well that the loader keeps from epoch to epoch."""
        self._iterator, self._next = None, None
        self._reader.__dict__["_iterator"] = None

    def _places(self, epoch: int, step: int) -> list[Place]:
        """Return where the batches of a step are; none where the epoch has no such step."""
        per_step, drawing = self._per_step or 1, self._epochs.of(epoch)
        numbers = range(step * per_step, (step + 1) * per_step)
        return [(epoch, number) for number in numbers if drawing.at(number) is not None]

    def _begin(self, place: Place, before: list[Place]) -> None:
        """Begin to read at a place; other batches are read before it."""
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
        self._before: list[Place] = []

    def begin(self, place: Place, before: list[Place]) -> None:
        """Begin at a place, after batches from somewhere else."""
        self._place, self._before = place, before

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys of each batch, or of what the data set calls a batch."""
        epoch, first = self._place
        for place in chain(self._before, ((epoch, number) for number in count(first))):
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


def _draws_nothing(loader: Any) -> bool:
    """Say whether nobody draws while samples are read and put together, as far as that is known."""
    return loader.collate_fn in (default_collate, default_convert) and draws_nothing(loader.dataset)


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
