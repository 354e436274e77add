"""A data set whose every sample draws from seeds of its own: whoever reads it, whenever, however often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from unbroken.loaders.found_generators import generators_in
from unbroken.loaders.seeds import set_all
from unbroken.state.randomness import Seeds


class SampleKey(NamedTuple):
    """What is asked of the data set for one sample."""

    seeds: Seeds
    """Of all that it draws for the sample."""
    index: Any
    """As the sampler gave it."""


class SeededSamples:
    """Sets every generator before each sample, in a worker as in the process itself.

    Other attributes are the data set's own: a `worker_init_fn` sets them there.

    Args:
        dataset: Has an index.
    """

    def __init__(self, dataset: Any) -> None:
        self.__dict__["_dataset"] = dataset
        self.__dict__["_generators"] = generators_in(dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        """Return a sample."""
        set_all(key.seeds, self._generators)
        return self._dataset[key.index]

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the data set."""
        if name in ("_dataset", "_generators") or name.startswith("__"):
            raise AttributeError(name)  # while it is unpickled in a worker
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the data set."""
        setattr(self._dataset, name, value)


class SeededBatches(SeededSamples):
    """The same of a data set that reads the samples of a batch at once; the first one's seed is set."""

    def __getitems__(self, keys: Sequence[SampleKey]) -> Any:
        """Return the samples of a batch."""
        set_all(keys[0].seeds, self._generators)
        return self._dataset.__getitems__([each.index for each in keys])


def seeded(dataset: Any) -> SeededSamples:
    """Return a data set of the same samples, to be asked with `SampleKey`."""
    reads_batches = bool(getattr(dataset, "__getitems__", None))
    return SeededBatches(dataset) if reads_batches else SeededSamples(dataset)


def tensors_of(dataset: Any) -> list[torch.Tensor] | None:
    """Return the tensors that a data set consists of; None where nobody knows."""
    if type(dataset) is Subset:
        return tensors_of(dataset.dataset)
    if type(dataset) is ConcatDataset:
        parts = [tensors_of(each) for each in dataset.datasets]
        return None if None in parts else [one for part in parts for one in part or ()]
    return list(dataset.tensors) if type(dataset) is TensorDataset else None


def draws_nothing(dataset: Any) -> bool:
    """Say whether a data set is known to draw no random number, so that no seed need be set."""
    if type(dataset) is Subset:
        return draws_nothing(dataset.dataset)
    if type(dataset) is ConcatDataset:
        return all(draws_nothing(each) for each in dataset.datasets)
    return type(dataset) in (TensorDataset, list, tuple)
