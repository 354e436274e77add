"""Batches that come one after the other: by the loader's own state, or counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken.loaders.stream import Stream, require_iterable
from unbroken.state.position import Position


class Numbers(IterableDataset[torch.Tensor]):
    """A stream that draws, and is told its epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[torch.Tensor]:
        for each in range(10):
            yield each + self.epoch + torch.rand(2)


class Stateful:
    """Says where it stands, and goes on from there without reading what is done."""

    def __init__(self) -> None:
        self.at, self.reads = 0, 0

    def __iter__(self) -> Iterator[int]:
        for each in range(self.at, 5):
            self.at = each + 1
            self.reads += 1
            yield each
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def taken(stream: Stream, epoch: int, batches: Iterator[int] | range) -> list[Any]:
    found = []
    for each in batches:
        batch = stream.take(Position(epoch=epoch, batch=each))
        found.append(None if batch is None else batch[0])
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_is_counted_goes_on_alike(workers: int) -> None:
    """The batches that are done are read again and dropped; what they drew is drawn again."""

    def stream() -> Stream:
        return Stream(DataLoader(Numbers(), 3, num_workers=workers), 7, repeats=True)

    whole = taken(stream(), 1, range(4))
    rest = taken(stream(), 1, range(2, 4))
    assert all(map(torch.equal, whole[2:], rest))
    resumed = stream()
    first = stream()
    taken(first, 1, range(2))
    assert first.content == resumed.read_again(Position(epoch=1, batch=2))
    assert torch.equal(whole[2], taken(resumed, 1, range(2, 3))[0])


def test_a_loader_with_a_state_reads_nothing_again() -> None:
    """It goes on by its own state."""
    whole, loader = Stream(Stateful(), 7, repeats=True), Stateful()
    taken(whole, 0, range(2))
    resumed = Stream(loader, 7, repeats=True)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.state_dict() == whole.state_dict()
    assert taken(resumed, 0, range(2, 6)) == [2, 3, 4, None]
    assert loader.reads == 3
    assert taken(resumed, 1, range(2)) == [0, 1]


def test_a_state_of_another_place_is_not_taken() -> None:
    """Saved while a batch was out, the state is one ahead: the epoch is read again instead."""
    whole, loader = Stream(Stateful(), 7, repeats=True), Stateful()
    taken(whole, 0, range(3))
    resumed = Stream(loader, 7, repeats=True)
    resumed.load_state_dict(whole.state_dict())
    assert taken(resumed, 0, range(2, 4)) == [2, 3]


def test_what_is_told_of_a_stream() -> None:
    """One without a state says what a resume costs."""
    assert "reads the batches of the epoch that are done again" in Stream([1], 7, repeats=True).note
    assert not Stream(Stateful(), 7, repeats=True).note


def test_a_stream_that_became_shorter_is_refused() -> None:
    """It can't go on where it stood."""
    with pytest.raises(DataInvalid, match="Epoch 0 ends after 2 batches; 3 of it were trained"):
        Stream([1, 2], 7, repeats=True).take(Position(batch=3))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (iter([1]), "gives its batches once"),
        ((i for i in [1]), "generator"),
        (3, "gives no batches"),
    ],
)
def test_what_can_not_begin_anew_is_refused(data: Any, said: str) -> None:
    """An iterator is used up after one epoch."""
    with pytest.raises(SettingsInvalid, match=said):
        require_iterable(data)


def test_an_empty_stream_is_refused() -> None:
    """There is nothing to train on."""
    with pytest.raises(DataInvalid, match="gives no batch"):
        Stream([], 7, repeats=True).take(Position())


class OwnDraws(IterableDataset[torch.Tensor]):
    """Draws from a generator that it keeps, made when it is built."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(42)

    def __iter__(self) -> Iterator[torch.Tensor]:
        for each in range(6):
            yield each + torch.as_tensor(self.rng.random(2))


class Ahead:
    """Wraps a loader whose generator nobody else sees."""

    def __init__(self) -> None:
        data = torch.utils.data.TensorDataset(torch.arange(8.0))
        self.inner = DataLoader(data, 2, shuffle=True, generator=torch.Generator().manual_seed(5))

    def __iter__(self) -> Iterator[torch.Tensor]:
        for (batch,) in self.inner:
            yield batch


@pytest.mark.parametrize("loader", [lambda: DataLoader(OwnDraws(), 2), Ahead])
def test_a_generator_inside_follows_from_the_epoch(loader: Any) -> None:
    """A later epoch draws alike in a process that has trained none before."""
    whole = Stream(loader(), 7, repeats=True)
    taken(whole, 0, range(3))
    expected = taken(whole, 1, range(2))
    found = taken(Stream(loader(), 7, repeats=True), 1, range(2))
    assert all(map(torch.equal, expected, found))


class ByTheClock(IterableDataset[int]):
    """Is shuffled with what is another number each time, as by the time or the process."""

    seed = 0

    def __iter__(self) -> Iterator[int]:
        ByTheClock.seed += 1
        order = torch.randperm(50, generator=torch.Generator().manual_seed(ByTheClock.seed))
        yield from order.tolist()


def test_a_stream_that_does_not_repeat_is_refused_when_the_run_begins() -> None:
    """Weeks later, at its first resume, it would be too late; who knows may let it pass."""
    loader = DataLoader(ByTheClock(), 4)
    with pytest.raises(DataInvalid, match="another first batch when it is read again") as error:
        Stream(loader, 3, repeats=True).take(Position())
    assert "data_repeats=False" in error.value.remedy
    assert Stream(loader, 3, repeats=False).take(Position()) is not None


def test_only_the_first_batch_of_a_run_is_read_twice() -> None:
    """A resume reads what is done anyway, and a stream with a state is not read again."""
    reads = 0

    class Counted(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            nonlocal reads
            for each in range(12):
                reads += 1
                yield each

    stream = Stream(DataLoader(Counted(), 4), 3, repeats=True)
    taken(stream, 0, range(3))
    assert reads == 12 + 4
    taken(stream, 1, range(3))
    assert reads == 24 + 4
