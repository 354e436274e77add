"""Validation while training: isolated, and on samples that are a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Protocol

from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset

from unbroken.loaders.sampled_batches import SampledBatches
from unbroken.loaders.sampled_epochs import SampledEpochs
from unbroken.loop.isolation import isolated
from unbroken.state.mix import mix64
from unbroken.state.position import Position

_VALIDATION = 0x56414C  # of no other seed: what derives from it is independent of the training's


class HasPlace(Protocol):
    """Where the training stands."""

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def step(self) -> int:
        """Batches that were trained."""
        ...


class Validation:
    """Runs the validation of a trainer so that it changes nothing, and comes out the same again.

    Args:
        trainer: The trainer.
        place: Where its training stands.
    """

    def __init__(self, trainer: Any, place: HasPlace) -> None:
        self._loop = trainer.fit_loop.epoch_loop.val_loop
        self._place = place

    def attach(self) -> None:
        """Have the loop run in isolation, and its loaders read in an order of ours."""
        loop = self._loop
        run, source = loop.run, loop._data_source  # noqa: SLF001  # in the table of private names
        given = source.dataloader
        source.dataloader = lambda: self._behind(given())
        loop.run = lambda: self._isolated(run)

    def seed(self) -> int:
        """Return the seed of the validation at the present step."""
        return mix64(self._place.seed, _VALIDATION, self._place.step)

    def _isolated(self, run: Callable[[], Any]) -> Any:
        with isolated(seed=self.seed()):
            return run()

    def _behind(self, given: Any) -> Any:
        combined = (
            given if isinstance(given, CombinedLoader) else CombinedLoader(given, "sequential")
        )
        combined.flattened = [
            ValidationLoader(each, number, self) if _has_index(each) else each
            for number, each in enumerate(combined.flattened)
        ]
        return combined


class ValidationLoader:
    """Reads a loader of the program in the order, and with the randomness, of one validation.

    Args:
        loader: Over a data set with an index.
        number: Of the loader.
        validation: Knows the seed.
    """

    def __init__(self, loader: Any, number: int, validation: Validation) -> None:
        self._loader = loader
        self._number = number
        self._validation = validation

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of one validation."""
        seed = mix64(self._validation.seed(), self._number)
        batches = SampledBatches(
            self._loader, SampledEpochs(self._loader, seed), seed, repeats=False
        )
        for number in count():
            taken = batches.take(Position(batch=number))
            if taken is None:
                return
            yield taken[0]

    def __len__(self) -> int:
        """Return how many batches there are."""
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the program's loader."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._loader, name)


def _has_index(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
