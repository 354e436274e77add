"""The order of a loader's batches as a function of seed and epoch, whatever its sampler is.

The sampler is drawn from with every generator set from `(seed, epoch)`, when the first batch of the
epoch is asked for: what the loop sets on it at the beginning of an epoch acts. So its list can be had
again at any time, and a resume takes the rest of it: nothing is loaded to be skipped. A sampler whose list can't be had again is known by drawing it twice; its lists are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, Final, Protocol

from torch.utils.data import BatchSampler

from unbroken.errors import SettingsInvalid
from unbroken.loaders.found_generators import generators_in
from unbroken.loaders.seeds import Draws, order_seed

PULLED: Final = 1024
"""Batches that are drawn at once."""
MOST_TRIED: Final = 1_000_000
"""Most batches of a list that is drawn to its end to see whether it can be drawn again."""
MOST_KEPT: Final = 10_000_000
"""Most batches of an epoch whose list is kept."""

Batch = tuple[Any, ...]
"""What a sampler calls the samples of one batch."""


class KeptLists(Protocol):
    """Where the lists of a sampler are kept that can't be drawn again."""

    def read(self, epoch: int) -> list[Batch] | None:
        """Return the list of an epoch; None where none is kept."""
        ...

    def keep(self, epoch: int, batches: Sequence[Batch]) -> None:
        """Keep the list of an epoch, on the disk, before its first batch is trained."""
        ...


class Drawing:
    """The list of one epoch, drawn as far as it is asked for.

    Args:
        sampler: Yields batches of indices, or single ones where the data set makes the batches.
        epoch: Counted from 0.
        seed: The run's.
        generators: Those that the sampler may draw from, beside the global ones.
        batches: Makes a batch of what the sampler yields.
    """

    def __init__(
        self,
        sampler: Any,
        epoch: int,
        seed: int,
        generators: Sequence[Any],
        batches: Callable[[Any], Batch],
    ) -> None:
        self._draws = Draws(order_seed(seed, epoch), generators)
        self._batches = batches
        self._iterator: Iterator[Any] | None = None
        self._sampler = sampler
        self._drawn: list[Batch] = []
        self._starts = [0]
        self._is_over = False

    def at(self, number: int) -> Batch | None:
        """Return a batch of the epoch; None beyond its end."""
        while len(self._drawn) <= number and not self._is_over:
            self._pull()
        return self._drawn[number] if number < len(self._drawn) else None

    def start_of(self, number: int) -> int:
        """Return how many samples of the epoch come before a batch that there is."""
        while len(self._starts) <= number:
            self._starts.append(self._starts[-1] + len(self._drawn[len(self._starts) - 1]))
        return self._starts[number]

    def all(self) -> list[Batch]:
        """Return the whole list."""
        while not self._is_over:
            self._pull()
            if len(self._drawn) > MOST_KEPT:
                raise _never_ends(self._sampler)
        return self._drawn

    def take(self, kept: list[Batch]) -> None:
        """Take a list that was kept."""
        self._drawn, self._starts, self._is_over = kept, [0], True

    def _pull(self) -> None:
        with self._draws.going_on():
            try:
                if self._iterator is None:
                    self._iterator = iter(self._sampler)
                pulled = [self._batches(each) for each in islice(self._iterator, PULLED)]
            except Exception as error:
                raise SettingsInvalid(
                    f"The loader's {type(self._sampler).__name__} raised {type(error).__name__}: "
                    f"{error}",
                    "It says which samples a batch has; without it there is nothing to train on.",
                    "Correct the sampler; the error above this one shows where it failed.",
                ) from error
        self._drawn += pulled
        self._is_over = len(pulled) < PULLED


class SampledEpochs:
    """The batches of every epoch of a loader over a data set with an index.

    Args:
        loader: Of PyTorch's class or one derived from it.
        seed: The run's.

    Raises:
        SettingsInvalid: The sampler raises, or gives no batch.
    """

    def __init__(self, loader: Any, seed: int) -> None:
        self.is_batched = loader.batch_sampler is not None
        """Whether the sampler makes the batches; otherwise the data set does."""
        self.sampler = loader.batch_sampler if self.is_batched else loader.sampler
        self._batches: Callable[[Any], Batch] = tuple if self.is_batched else _alone
        self._seed = seed
        self._generators = generators_in(loader.generator, *_attributes(self.sampler))
        self._drawing: tuple[int, Drawing] | None = None
        self.kept: KeptLists | None = None
        self._told: int | None = None
        self.begun: int | None = None
        """The epoch whose batches are asked for; None before the first."""
        first = self._tried()
        if _length(self.sampler) <= MOST_TRIED:
            first.all()  # a sampler may count its epochs at the end of its list
        lists = [[each.at(i) for i in range(PULLED)] for each in (first, self._tried())]
        if lists[0][0] is None:
            raise SettingsInvalid(
                "The loader gives no batch.",
                "There is nothing to train on.",
                "Give it samples; with drop_last=True, at least as many as a batch has.",
            )
        self.repeats = lists[0] == lists[1]
        """Whether the list of an epoch can be drawn again."""
        self._drawn_before = 0
        is_plain = type(self.sampler) is BatchSampler
        self.size: int | None = self.sampler.batch_size if is_plain else None
        """Samples of a batch; None where the sampler says that itself."""
        self.earlier: list[list[int]] = []
        """Sizes before this one: `[epoch, batch, size]`, in force until that batch."""

    def tell(self, epoch: int) -> None:
        """Tell the samplers which epoch begins, where they want to know."""
        self._told = epoch
        for each in chain_of(self.sampler):
            if hasattr(each, "set_epoch"):
                each.set_epoch(epoch)

    def begin(self, epoch: int) -> None:
        """Begin to ask for the batches of an epoch."""
        if self._told != epoch:
            self.tell(epoch)
        self.begun = epoch

    def _tried(self) -> Drawing:
        self.tell(0)
        return self._new(0)

    def go_on_after(self, saved: Mapping[str, Any], epoch: int, batch: int) -> None:
        """Take over which sizes the batches of a saved order had.

        The samples of the epoch that are left make batches of the new size: none is repeated, none
        is left out.

        Args:
            saved: The facts of the saved order.
            epoch: Where it stood.
            batch: The batches of it that are done.
        """
        self.earlier = [list(each) for each in saved.get("earlier", [])]
        was = saved.get("effective_batch", self.size)
        if self.size is not None and was != self.size:
            self.earlier.append([epoch, batch, was])
        self._drawing, self._told = None, None

    def of(self, epoch: int) -> Drawing:
        """Return the list of an epoch."""
        if self._drawing is None or self._drawing[0] != epoch:
            drawing = self._new(epoch)
            if not self.repeats:
                self._draw_unrepeatable(epoch, drawing)
            if any(changed >= epoch for changed, _, _ in self.earlier):
                drawing.take(self._cut_anew(epoch))
            self._drawing = epoch, drawing
        return self._drawing[1]

    def _cut_anew(self, epoch: int) -> list[Batch]:
        """Cut the samples of an epoch in which, or after which, batches had other sizes."""
        single = Drawing(self.sampler.sampler, epoch, self._seed, self._generators, _alone)
        samples = [index for batch in single.all() for index in batch]
        made: list[Batch] = []
        done = 0
        changes = [(until, size) for changed, until, size in self.earlier if changed == epoch]
        later = [size for changed, _, size in self.earlier if changed > epoch]
        for until, size in [*changes, (None, later[0] if later else self.size)]:
            assert size is not None
            while (until is None or len(made) < until) and done < len(samples):
                batch = tuple(samples[done : done + size])
                done += size
                if len(batch) == size or not self.sampler.drop_last:
                    made.append(batch)
        return made

    def _draw_unrepeatable(self, epoch: int, drawing: Drawing) -> None:
        """Take the list that was kept; otherwise draw it, and keep it."""
        while self._drawn_before < epoch:  # a sampler that counts its epochs is to go on counting
            self._new(self._drawn_before).all()
            self._drawn_before += 1
        drawn = drawing.all()
        self._drawn_before = epoch + 1
        kept = self.kept.read(epoch) if self.kept else None
        if kept is not None:
            drawing.take(kept)
        elif self.kept is not None:
            self.kept.keep(epoch, drawn)

    def _new(self, epoch: int) -> Drawing:
        return Drawing(self.sampler, epoch, self._seed, self._generators, self._batches)


def _length(sampler: Any) -> float:
    try:
        return len(sampler)
    except (TypeError, NotImplementedError, AttributeError):
        return inf


def chain_of(sampler: Any) -> Iterator[Any]:
    """Yield a sampler and those that it draws from."""
    waiting, seen = [sampler], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [getattr(each, name, None) for name in ("batch_sampler", "sampler")]


def _attributes(sampler: Any) -> Iterator[Any]:
    """Yield what a sampler and those inside keep, but for the data set."""
    for each in chain_of(sampler):
        for name, value in getattr(each, "__dict__", {}).items():
            if name not in ("data_source", "dataset"):
                yield value


def _alone(index: Any) -> Batch:
    return (index,)


def _never_ends(sampler: Any) -> SettingsInvalid:
    return SettingsInvalid(
        f"The loader's {type(sampler).__name__} gives other batches each time, and does not end.",
        "Its order can neither be drawn again nor be kept, so no resume could go on with it.",
        "Draw from torch, numpy or random, whose generators are set for each epoch; or end the epoch.",
    )
