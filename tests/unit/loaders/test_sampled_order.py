"""The order of a loader: what its sampler gives, as a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, TensorDataset

from unbroken.errors import SettingsInvalid
from unbroken.loaders.sampled_order import SampledOrder
from unbroken.state.position import Position


def loader(samples: int, batch: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(samples)), batch, **{"shuffle": True, **options})


def names_of(order: SampledOrder, position: Position, epoch: int) -> list[list[str]]:
    """Return the names of every batch from a position to the end of an epoch."""
    found = []
    order.epochs.begin(epoch)
    while position.epoch <= epoch:
        found.append(order.names_at(position))
        position = order.after(position)
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(0, 3), st.data())
def test_an_epoch_is_drawn_alike_from_anywhere(
    samples: int, batch: int, drop_last: bool, epoch: int, data: st.DataObject
) -> None:
    """Another process that begins in its middle has the rest of the same list."""
    batch = min(batch, samples)
    first = SampledOrder(loader(samples, batch, drop_last=drop_last), 7)
    whole = names_of(first, Position(epoch=epoch), epoch)
    place = data.draw(st.integers(0, len(whole) - 1))
    torch.manual_seed(data.draw(st.integers(0, 99)))  # what the program drew before plays no part
    again = SampledOrder(loader(samples, batch, drop_last=drop_last), 7)
    assert whole[place:] == names_of(again, Position(epoch=epoch, batch=place), epoch)
    used = [name for each in whole for name in each]
    assert len(set(used)) == len(used) == (samples // batch * batch if drop_last else samples)


def test_epochs_and_seeds_have_lists_of_their_own() -> None:
    """No two epochs are alike, and no two seeds."""
    lists = {
        str(names_of(SampledOrder(loader(30, 4), seed), Position(epoch=epoch), epoch))
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert len(lists) == 4


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 7), st.integers(1, 7), st.data())
def test_another_batch_size_repeats_and_omits_nothing(
    samples: int, before: int, now: int, data: st.DataObject
) -> None:
    """The samples that are left of the epoch make batches of the new size; later epochs are whole."""
    saved = SampledOrder(loader(samples, before), 3)
    done = data.draw(st.integers(0, -(-samples // before) - 1))
    here = Position(epoch=1, batch=done)
    saved.epochs.begin(1)
    used = [n for batch in range(done) for n in saved.names_at(replace(here, batch=batch))]
    order = SampledOrder(loader(samples, now), 3)
    order.go_on_as(saved.facts(), here)
    left = names_of(order, here, 1)
    assert sorted(used + [n for each in left for n in each], key=int) == [
        str(i) for i in range(samples)
    ]
    assert all(len(each) == now for each in left[:-1])
    # A start after that one knows it from the facts.
    later = SampledOrder(loader(samples, now), 3)
    later.go_on_as(order.facts(), replace(here, batch=done))
    assert left == names_of(later, here, 1)
    fresh = SampledOrder(loader(samples, now), 3)
    assert names_of(order, Position(epoch=2), 2) == names_of(fresh, Position(epoch=2), 2)


def test_a_sampler_of_single_samples_and_one_of_batches_give_the_same_names() -> None:
    """Whoever makes the batches, the names are what the sampler gives."""
    data = TensorDataset(torch.arange(9))
    sampler = BatchSampler(RandomSampler(data), 3, drop_last=False)
    by_batches = SampledOrder(DataLoader(data, batch_sampler=sampler), 3)
    alone = SampledOrder(DataLoader(data, 3, shuffle=True), 3)
    here = Position(epoch=2, batch=1)
    for each in (by_batches, alone):
        assert each.names_at(here) == []  # the loop may still change the sampler
        each.epochs.begin(2)
    assert by_batches.names_at(here) == alone.names_at(here)
    assert by_batches.next_ids(here, 4) == alone.next_ids(here, 4)


class Endless(Sampler[int]):
    """Has no length and no end."""

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 30, ())))
        while True:
            yield from torch.randperm(8, generator=generator).tolist()


def test_a_sampler_without_end_is_drawn_as_far_as_needed() -> None:
    """The batches of an endless epoch are had from any place."""
    data = TensorDataset(torch.arange(8))
    orders = [SampledOrder(DataLoader(data, 4, sampler=Endless()), 3) for _ in range(2)]
    here = Position(batch=5000)
    for each in orders:
        each.epochs.begin(0)
    assert orders[0].names_at(here) == orders[1].names_at(here)
    assert orders[0].after(here) == replace(here, batch=5001, step=1)


class Raising(Sampler[int]):
    """Fails at once."""

    def __iter__(self) -> Iterator[int]:
        raise KeyError("lengths.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: loader(3, 4, drop_last=True), "gives no batch"),
        (lambda: loader(3, 1, shuffle=None, sampler=Raising()), "raised KeyError: 'lengths.json'"),
    ],
)
def test_a_loader_that_gives_nothing_is_refused(given: Any, said: str) -> None:
    """By name, before anything is written."""
    with pytest.raises(SettingsInvalid, match=said):
        SampledOrder(given(), 3)
