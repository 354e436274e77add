"""Another effective batch in the middle of an epoch: no sample is repeated or left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.order.step_batches import StepBatches
from unbroken.state.position import Position

SIZES = st.integers(1, 9)


def order(size: int, count: int, lengths: bool) -> StepBatches:
    ids = [str(i) for i in range(count)]
    return StepBatches(ids, [i * 7 % 13 for i in range(count)] if lengths else None, size, 3)


def walk(batches: StepBatches, position: Position, steps: int) -> tuple[Position, list[list[int]]]:
    seen = []
    for _ in range(steps):
        seen.append([int(i) for i in batches.at(position)])
        position = batches.after(position)
    return position, seen


@given(
    count=st.integers(5, 60),
    sizes=st.lists(SIZES, min_size=2, max_size=4),
    steps=st.lists(st.integers(0, 12), min_size=4, max_size=4),
    lengths=st.booleans(),
)
def test_every_epoch_uses_every_sample_once(
    count: int, sizes: list[int], steps: list[int], lengths: bool
) -> None:
    """Whatever the sizes and wherever they change, an epoch is each sample once."""
    batches = order(sizes[0], count, lengths)
    position, seen = walk(batches, Position(), steps[0])
    for size, more in zip(sizes[1:], steps[1:], strict=False):
        saved, batches = batches.facts(), order(size, count, lengths)
        batches.go_on_as(saved, position)
        position, after = walk(batches, position, more)
        seen += after
    while position.epoch < 3 or position.batch:
        position, after = walk(batches, position, 1)
        seen += after
    flat = [each for batch in seen for each in batch]
    epochs = [sorted(flat[start : start + count]) for start in range(0, len(flat), count)]
    assert [list(range(count))] * (position.epoch) == epochs
    assert sum(map(len, seen)) == position.epoch * count


def test_a_step_that_was_begun_is_finished_as_it_was() -> None:
    """The samples of its step batch don't change; the next one has the new size."""
    before, after = order(8, 40, lengths=True), order(3, 40, lengths=True)
    position = Position(epoch=0, step=2, batch=2, samples=4)
    after.go_on_as(before.facts(), position)
    assert np.array_equal(before.at(position), after.at(position))
    assert [1, 3, 3, 3, 3, 3] == sorted(len(each) for each in after.epoch(0)[3:])


@pytest.mark.parametrize("again", [1, 2])
def test_the_same_size_changes_nothing(again: int) -> None:
    """Resuming, also more than once after a change, derives the same batches."""
    first, second = order(8, 40, lengths=True), order(3, 40, lengths=True)
    position = Position(epoch=1, step=6, batch=1)
    second.go_on_as(first.facts(), position)
    third = order(3, 40, lengths=True)
    for _ in range(again):
        third.go_on_as(second.facts(), position)
    for epoch in range(4):
        pairs = zip(second.epoch(epoch), third.epoch(epoch), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
