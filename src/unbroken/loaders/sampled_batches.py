"""The batches of a loader over a data set with an index, from any place on.

They come from a copy of the loader that differs in two things: its list of batches begins where the run
stands, and each sample sets the generators for itself. So the number of workers, prefetching and where
the run was stopped change nothing. The program's own loader stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from torch.utils.data import DataLoader, default_collate, default_convert

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken.loaders.content import content_digest
from unbroken.loaders.ended_workers import end_workers
from unbroken.loaders.sampled_epochs import Drawing, SampledEpochs
from unbroken.loaders.seeded_samples import SampleKey, draws_nothing, seeded
from unbroken.loaders.seeds import Draws, fetch_seed, order_seed, sample_seeds
from unbroken.state.position import Position
from unbroken.state.randomness import seed_everything, seeds_of_each

Place = tuple[int, int]
"""An epoch, and batches of it, or steps, that are done."""
_Known = tuple[int, Drawing, int]
"""A batch by its epoch, the list of that epoch, and its number there."""


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
        self._taken: Sequence[_Known] = ()
        self._trained: Sequence[_Known] = ()
        self._trained_at: Any = None
        # What a loader of PyTorch's own class does here, beside reading samples, draws nothing.
        self._draws_here = type(loader) is not DataLoader or (
            self._keys.draws and not loader.num_workers
        )

    @property
    def trained_at(self) -> Any:
        """Of each batch that was trained last the epoch, the samples of it before, and the indices.

        None where they can't be saved.
        """
        if self._trained:
            at = _as_values(self._trained)
            is_plain = all(type(each) in (int, str) for _, _, indices in at for each in indices)
            self._trained, self._trained_at = (), at if is_plain else None
        return self._trained_at

    @trained_at.setter
    def trained_at(self, at: Any) -> None:
        self._trained, self._trained_at = (), at

    def take(self, position: Position) -> Any:
        """Return the batch that a run at a position uses next; None where the epoch has no more.

        Raises:
            DataInvalid: The first batch of a run differs when it is read once more.
        """
        self._epochs.begin(position.epoch)
        places = self._places(position.epoch, position.batch)
        if not places:
            return None
        first = None  # digest of what was read first, where it is read once more
        if self._next != places[0]:
            again = _as_values(self._known(places[:1])) if self._is_to_be_compared else []
            self._begin(places[0], again)
            if self._is_to_be_compared:
                first = content_digest(self._fetch(places[0]))
        batches = [self._fetch(each) for each in places]
        if first is not None and first != content_digest(batches[0]):
            raise _does_not_repeat(self._loader.dataset)
        self._is_to_be_compared = False
        self._next, self._taken = (position.epoch, places[-1][1] + 1), self._known(places)
        drawing = self._epochs.of(position.epoch)
        self.sizes = [len(drawing.at(number) or ()) for _, number in places]
        if drawing.at(self._next[1]) is None:
            self._iterator = None  # its workers end, unless they persist
        step = batches[0] if self._per_step is None else batches
        self.content = content_digest(step)
        return (step,)

    def mark_trained(self) -> None:
        """Take in that the batch that was read last is trained."""
        self.trained, self._trained = self.content, self._taken

    def tell_epoch(self, epoch: int) -> None:
        """Tell the samplers which epoch begins."""
        self._epochs.tell(epoch)

    def read_again(self, position: Position) -> str:
        """Read the batch that was trained last once more, and then from a position on.

        Returns:
            Its digest; empty where there is none, or where the data set may have changed with the epoch.
        """
        self._epochs.begin(position.epoch)
        last = self.trained_at
        if last is None or not self._is_to_be_compared:
            return ""
        if hasattr(self._loader.dataset, "set_epoch") and last[0][0] != position.epoch:
            return ""
        self._is_to_be_compared = False
        self._begin((position.epoch, position.batch * (self._per_step or 1)), last)
        batches = [self._fetch((epoch, start)) for epoch, start, _ in last]
        self.trained = content_digest(batches[0] if self._per_step is None else batches)
        return self.trained

    def close(self) -> None:
        """Read no more: the workers end, those as well that the loader keeps from epoch to epoch."""
        end_workers(self._iterator)
        self._iterator, self._next = None, None
        for each in _loaders_in(self._reader):
            end_workers(each.__dict__["_iterator"])
            each.__dict__["_iterator"] = None

    def _places(self, epoch: int, step: int) -> list[Place]:
        """Return where the batches of a step are; none where the epoch has no such step."""
        per_step, drawing = self._per_step or 1, self._epochs.of(epoch)
        numbers = range(step * per_step, (step + 1) * per_step)
        return [(epoch, number) for number in numbers if drawing.at(number) is not None]

    def _known(self, places: Sequence[Place]) -> list[_Known]:
        return [(epoch, self._epochs.of(epoch), number) for epoch, number in places]

    def _begin(self, place: Place, before: Sequence[Any]) -> None:
        """Begin to read at a place; other batches are read before it, as `trained_at` has them."""
        self._iterator, self._next = None, place  # the workers of an epoch that was left end here
        self._keys.begin(place, before)
        generators = [] if self._loader.generator is None else [self._loader.generator]
        with Draws(order_seed(self._seed, place[0]), generators).going_on():
            self._iterator = iter(self._reader)

    def _fetch(self, place: Place) -> Any:
        assert self._iterator is not None
        if self._draws_here:
            seed_everything(fetch_seed(self._seed, *place))
        batch = next(self._iterator)
        if not self._keys.are_read:
            raise _goes_its_own_way(self._loader)
        return batch


def _as_values(known: Sequence[_Known]) -> list[Any]:
    """Return batches as `trained_at` has them."""
    return [[e, each.start_of(number), list(each.at(number) or ())] for e, each, number in known]


class _Keys:
    """What the data set is asked for: the batches of an epoch from a place on."""

    def __init__(self, epochs: SampledEpochs, seed: int, *, draws: bool) -> None:
        self._epochs = epochs
        self._seed = seed
        self.draws = draws
        self.are_read = False
        """Whether the loader asks for them."""
        self._place: Place = (0, 0)
        self._before: Sequence[Any] = ()

    def begin(self, place: Place, before: Sequence[Any]) -> None:
        """Begin at a place, after batches from somewhere else; see `SampledBatches.trained_at`."""
        self._place, self._before = place, before

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys of each batch, or of what the data set calls a batch."""
        self.are_read = True
        for each in self._before:
            yield self._keys(*each)
        epoch, first = self._place
        drawing = self._epochs.of(epoch)
        for number in count(first):
            if (batch := drawing.at(number)) is None:
                return
            yield self._keys(epoch, drawing.start_of(number), batch)

    def _keys(self, epoch: int, start: int, batch: Sequence[Any]) -> Any:
        keys = list(batch)
        if self.draws:
            seeds = seeds_of_each(sample_seeds(self._seed, epoch, start, batch))
            keys = list(map(SampleKey, seeds, batch))
        return keys if self._epochs.is_batched else keys[0]

    def __len__(self) -> int:
        """Return how many batches a whole epoch has."""
        return len(self._epochs.of(self._place[0]).all())

    def __getattr__(self, name: str) -> Any:
        """Return what a loader of another class asks its own sampler for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._epochs.sampler, name)


def _draws_nothing(loader: Any) -> bool:
    """Say whether nobody draws while samples are read and put together, as far as that is known."""
    return loader.collate_fn in (default_collate, default_convert) and draws_nothing(loader.dataset)


def _reader(loader: Any, keys: _Keys) -> Any:
    """Return the copy of a loader that is read; of one that reads another loader, of both."""
    made = copy.copy(loader)
    own = made.__dict__  # PyTorch refuses to have them set
    own["batch_sampler" if loader.batch_sampler is not None else "sampler"] = keys
    own["_iterator"] = None
    if keys.draws:
        own["dataset"] = seeded(loader.dataset)
    for name, each in own.items():
        if isinstance(each, DataLoader):
            own[name] = _reader(each, keys)
    return made


def _loaders_in(reader: Any) -> Iterator[Any]:
    """Yield a loader and those that it reads."""
    yield reader
    for each in reader.__dict__.values():
        if isinstance(each, DataLoader):
            yield from _loaders_in(each)


def _goes_its_own_way(loader: Any) -> SettingsInvalid:
    return SettingsInvalid(
        f"The {type(loader).__name__} does not ask its sampler when it is iterated over.",
        "It can't be begun in the middle of an epoch, so no resume could go on with it.",
        "Give Run(data=...) a DataLoader of the same data set and sampler; with persistent_workers=True its "
        "workers stay from epoch to epoch, too.",
    )


def _does_not_repeat(dataset: Any) -> DataInvalid:
    return DataInvalid(
        f"The first batch of {type(dataset).__name__} was read twice, and the second was another one.",
        "A resumed run would train on other samples than the run that was not stopped. Nothing was "
        "trained.",
        "Have the data set draw from torch, numpy or random, whose generators are set for each sample, "
        "not from the clock, the system or what it keeps from sample to sample; or give "
        "Run(..., data_repeats=False), and no resume is compared by content.",
    )
