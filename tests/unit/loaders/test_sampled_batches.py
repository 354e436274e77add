"""The batches of a loader: the same from any place, by any number of workers."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from unbroken.errors import DataInvalid
from unbroken.loaders.sampled_batches import SampledBatches
from unbroken.loaders.sampled_order import SampledOrder
from unbroken.state.position import Position


class Drawing(Dataset[torch.Tensor]):
    """Draws from every global generator and from one of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.scale = 1.0

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> torch.Tensor:
        noise = random.random() + float(np.random.rand()) + float(self.rng.random())  # noqa: NPY002, S311
        return self.scale * (index + torch.rand(3) + noise)


class ReadingBatches(Drawing):
    """Reads the samples of a batch at once."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [self[each] for each in indices]


class FromTheSystem(Drawing):
    """Draws from what nobody can set."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(list(os.urandom(4)))


def in_worker(number: int) -> None:
    """Set what people set in their `worker_init_fn`."""
    info = get_worker_info()
    assert info is not None
    dataset: Any = info.dataset
    dataset.scale = 2.0
    np.random.seed(number)  # noqa: NPY002  # as people do


def batches(first: Position, **options: Any) -> Iterator[torch.Tensor]:
    """Yield the batches of two epochs from a position on."""
    dataset = options.pop("dataset", Drawing)()
    loader = DataLoader(dataset, 4, shuffle=True, **options)
    order = SampledOrder(loader, 3)
    source = SampledBatches(loader, order.epochs, 3, repeats=True)
    position = first
    while position.epoch < 2:
        taken = source.take(position)
        assert taken is not None
        yield taken[0]
        torch.rand(7)  # the loop draws too
        position = order.after(position)


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1},
        {"num_workers": 2, "persistent_workers": True, "prefetch_factor": 3},
        {"generator": torch.Generator().manual_seed(4)},
        {"dataset": ReadingBatches},
    ],
    ids=["a worker", "two that persist", "a generator", "reads batches"],
)
def test_what_reads_changes_nothing(options: dict[str, Any]) -> None:
    """Nor does where the reading begins."""
    fixed = {"generator": options["generator"]} if "generator" in options else {}
    if "dataset" in options:
        fixed["dataset"] = options["dataset"]
    whole = list(batches(Position(), **fixed))
    assert equal(whole, list(batches(Position(), **options)))
    assert equal(whole[2:], list(batches(Position(batch=2), **options)))
    assert equal(whole[3:], list(batches(Position(epoch=1), **options)))


def test_a_worker_sets_attributes_of_the_data_set() -> None:
    """What a `worker_init_fn` sets acts, and what it seeds does not."""
    halves = list(batches(Position()))
    found = list(batches(Position(), num_workers=1, worker_init_fn=in_worker))
    assert equal([2 * each for each in halves], found)


def test_the_programs_loader_and_generator_stay_as_they_are() -> None:
    """It may be iterated over elsewhere, and its generator be drawn from."""
    generator = torch.Generator().manual_seed(4)
    dataset = Drawing()
    loader = DataLoader(dataset, 4, shuffle=True, generator=generator)
    before, sampler = generator.get_state(), loader.batch_sampler
    order = SampledOrder(loader, 3)
    source = SampledBatches(loader, order.epochs, 3, repeats=True)
    source.take(Position())
    assert torch.equal(before, generator.get_state())
    assert (dataset, sampler) == (loader.dataset, loader.batch_sampler)
    assert len(list(loader)) == 3


def test_a_data_set_that_does_not_repeat_is_refused() -> None:
    """The first batch is read twice; what draws from the system differs."""
    with pytest.raises(DataInvalid, match="FromTheSystem was read twice"):
        next(batches(Position(), dataset=FromTheSystem))


def test_the_last_batch_is_read_again_and_then_the_next() -> None:
    """What was trained last is had again at a resume, also across an epoch's end."""
    loader = DataLoader(Drawing(), 4, shuffle=True)
    order = SampledOrder(loader, 3)
    first, second = (SampledBatches(loader, order.epochs, 3, repeats=True) for _ in range(2))
    position = Position(batch=2)
    first.take(position)
    first.mark_trained()
    second.trained_at = first.trained_at
    after = order.after(position)
    assert first.content == second.read_again(after) == second.trained
    whole = list(batches(Position(epoch=1)))
    taken = second.take(after)
    assert taken is not None
    assert torch.equal(whole[0], taken[0])
