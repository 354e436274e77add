"""Seeds of what a loader draws: of an epoch's order, of a fetch, of a sample.

They derive from the run's seed and the place alone, under a scheme number of their own; the tests hold
golden values. A new way gets a new number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from unbroken.state.generators import generator_state, seed_generator, set_generator_state
from unbroken.state.mix import mix64, mix64_each
from unbroken.state.randomness import GeneratorStates, Seeds, seeds_of, set_seeds

LOADER_SCHEME: Final = 1
"""Number of the way these seeds are derived."""
AS_GIVEN: Final = "as the loader gives it"
"""The size of a batch, where no number tells it beforehand."""
_ORDER, _FETCH, _SAMPLE = range(3)
_MASK: Final = (1 << 64) - 1


def order_seed(seed: int, epoch: int) -> int:
    """Return the seed by which a sampler draws the order of an epoch, and workers are begun."""
    return mix64(LOADER_SCHEME, _ORDER, seed, epoch)


def fetch_seed(seed: int, epoch: int, batch: int) -> int:
    """Return the seed of what this process draws while it fetches a batch."""
    return mix64(LOADER_SCHEME, _FETCH, seed, epoch, batch)


def sample_seed(seed: int, epoch: int, place: int, index: Any) -> int:
    """Return the seed of what a data set draws for one sample.

    Args:
        seed: The run's.
        epoch: Counted from 0.
        place: Samples of the epoch before this one; a sampler may give one sample several times.
        index: What the sampler calls the sample.
    """
    return mix64(LOADER_SCHEME, _SAMPLE, seed, epoch, place, _number(index))


def sample_seeds(
    seed: int, epoch: int, place: int, indices: Sequence[Any]
) -> npt.NDArray[np.uint64]:
    """Return the same of each of several samples in a row, (N,), at once.

    Args:
        seed: The run's.
        epoch: Counted from 0.
        place: Samples of the epoch before the first of these.
        indices: What the sampler calls them.
    """
    places = np.arange(place, place + len(indices), dtype=np.uint64)
    numbers = np.array([_number(each) & _MASK for each in indices], dtype=np.uint64)
    return mix64_each(mix64_each(mix64(LOADER_SCHEME, _SAMPLE, seed, epoch), places), numbers)


def _number(index: Any) -> int:
    return index if type(index) is int else xxh3_64_intdigest(repr(index).encode())


class Draws:
    """What is drawn inside `going_on`: from seeds of its own, whatever else is drawn in between.

    Args:
        seed: Sets every generator the first time.
        generators: Others than the global ones that may be drawn from.
    """

    def __init__(self, seed: int, generators: Sequence[Any] = ()) -> None:
        self._seed = seed
        self._generators = generators
        self._inside: tuple[GeneratorStates, list[Any]] | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Set the generators to where they were inside; afterwards to where they were outside."""
        outside = self._states()
        if self._inside is None:
            seed_all(self._seed, self._generators)
        else:
            self._put(self._inside)
        try:
            yield
            self._inside = self._states()
        finally:
            self._put(outside)

    def _states(self) -> tuple[GeneratorStates, list[Any]]:
        return GeneratorStates.capture(), [generator_state(each) for each in self._generators]

    def _put(self, states: tuple[GeneratorStates, list[Any]]) -> None:
        states[0].put_back()
        for each, state in zip(self._generators, states[1], strict=True):
            set_generator_state(each, state)


def seed_all(seed: int, generators: Sequence[Any]) -> None:
    """Set the global generators and some others from one 64-bit seed."""
    set_all(seeds_of(seed), generators)


def set_all(seeds: Seeds, generators: Sequence[Any]) -> None:
    """Do the same, with the seeds of the global ones derived already."""
    set_seeds(seeds)
    for number, each in enumerate(generators):
        seed_generator(each, mix64(seeds[0], 3, number))
