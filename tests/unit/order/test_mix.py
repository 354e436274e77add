"""A mix: every epoch has the shares asked for, and every sample has its turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken import Mix, SettingsInvalid, StepBatches
from unbroken.state.position import Position


def mixed(
    counts: dict[str, int], shares: dict[str, float], *, size: int = 4, lengths: bool = True
) -> StepBatches:
    """An order of samples named by their group, with weights from 1 to 5."""
    groups = [name for name, count in counts.items() for _ in range(count)]
    weights = [1 + i * 7 % 5 for i in range(len(groups))]
    mix = Mix(groups, shares, weights)
    ids = [f"{name}{i}" for i, name in enumerate(groups)]
    return StepBatches(ids, weights if lengths else None, size, 3, mix)


ORDERS = st.builds(
    lambda am, en, share, size, lengths: mixed(
        {"am": am, "en": en}, {"am": share, "en": 1 - share}, size=size, lengths=lengths
    ),
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0.05, 0.95),
    st.integers(1, 9),
    st.booleans(),
)


def groups_of(order: StepBatches, epoch: int) -> Counter[str]:
    """How often each group comes in an epoch."""
    return Counter(order.ids[i][:2] for batch in order.epoch(epoch) for i in batch)


@given(order=ORDERS, epochs=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_every_epoch_has_the_counts_of_the_mix(order: StepBatches, epochs: int) -> None:
    """The leading group comes exactly once, the others evenly: no sample twice more than another."""
    mix = order.mix
    assert mix is not None
    seen: Counter[str] = Counter()
    for epoch in range(epochs):
        assert dict(groups_of(order, epoch)) == mix.counts
        seen.update(order.ids[i] for batch in order.epoch(epoch) for i in batch)
    turns: dict[str, list[int]] = {name: [] for name in mix.counts}
    for name in order.ids:
        turns[name[:2]].append(seen[name])
    assert all(max(each) - min(each) <= 1 for each in turns.values())
    assert {epochs} == set(turns[mix.leading])
    assert order.steps_per_epoch == len(order.epoch(0))


def test_shares_are_measured_by_weight() -> None:
    """Of the tokens of an epoch 15 % are English, however long its samples are."""
    groups = ["am"] * 400 + ["en"] * 300
    tokens = np.array([100] * 400 + [37] * 300)
    mix = Mix(groups, {"am": 0.85, "en": 0.15}, tokens)
    drawn = mix.drawn(1, 4)
    english = tokens[drawn][drawn >= 400].sum()
    assert abs(english / tokens[drawn].sum() - 0.15) < 0.001
    assert 400 == mix.counts["am"]
    assert abs(mix.passes["en"] - mix.counts["en"] / 300) < 1e-9


@given(order=ORDERS, start=st.integers(0, 40), size=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_from_any_position_the_samples_are_the_same(
    order: StepBatches, start: int, size: int
) -> None:
    """A run that goes on in a new process, with another cut, sees what it would have seen."""
    whole = order.next_ids(Position(), 300)
    position, done = Position(), 0
    for _ in range(start):
        done += len(order.at(position))
        position = order.after(position)
    assert order.mix is not None
    again = StepBatches(order.ids, order.lengths, order.effective_batch, order.seed, order.mix)
    found: list[str] = []
    for micro in again.micro_batches(position, size):
        found.extend(again.ids[i] for i in micro.indices)
        if len(found) >= 50:
            break
    assert whole[done : done + 50] == found[: max(0, min(50, 300 - done))]


@given(order=ORDERS, at=st.integers(0, 12), size=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_another_batch_in_an_epoch_repeats_and_loses_nothing(
    order: StepBatches, at: int, size: int
) -> None:
    """The places of the epoch that are left make step batches of the new size."""
    expected = groups_of(order, 0), Counter(i for batch in order.epoch(0) for i in batch)
    at = min(at, order.steps_per_epoch - 1)
    other = StepBatches(order.ids, order.lengths, size, order.seed, order.mix)
    other.go_on_as(order.facts(), replace(Position(), batch=at, step=at))
    for new, old in list(zip(other.epoch(0), order.epoch(0), strict=False))[:at]:
        assert new.tolist() == old.tolist()
    found = Counter(i for batch in other.epoch(0) for i in batch)
    assert expected == (groups_of(other, 0), found)


def test_the_draw_never_changes() -> None:
    """A run that was begun with a scheme keeps it."""
    mix = Mix(["a"] * 4 + ["b"] * 3, {"a": 2, "b": 1})
    drawn = [mix.drawn(9, epoch).tolist() for epoch in range(3)]
    assert [[3, 1, 0, 2, 5, 4], [3, 1, 0, 2, 6, 6], [2, 1, 0, 3, 5, 4]] == drawn


def test_epochs_differ_and_a_mix_is_a_fact() -> None:
    """Each pass of a group has another order; other shares are another order."""
    order = mixed({"am": 20, "en": 20}, {"am": 0.5, "en": 0.5})
    epochs = [order.epoch(number) for number in range(3)]
    for one, two in pairwise(epochs):
        assert [each.tolist() for each in one] != [each.tolist() for each in two]
    other = mixed({"am": 20, "en": 20}, {"am": 0.6, "en": 0.4})
    assert order.facts()["mix"] != other.facts()["mix"]
    assert "mix" not in StepBatches(["a"], None, 1, 0).facts()


@pytest.mark.parametrize(
    ("shares", "weights", "told"),
    [
        ({}, None, "The shares are"),
        ({"a": 0.0, "b": 1.0}, None, "above 0"),
        ({"a": float("nan"), "b": 1.0}, None, "above 0"),
        ({"a": 1e308, "b": 1e308}, None, "above 0"),
        ({"a": 1.0}, None, "'b' \\(1 samples\\)"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, None, "'c' \\(no sample\\)"),
        ({"a": 1.0, "b": 1.0}, [1, 2], "2 weights for 3 samples"),
        ({"a": 1.0, "b": 1.0}, [1, 2, 0], "below 1"),
    ],
)
def test_what_makes_no_mix_is_refused(shares: Any, weights: Any, told: str) -> None:
    """Groups, shares and weights must fit each other."""
    with pytest.raises(SettingsInvalid, match=told):
        Mix(["a", "a", "b"], shares, weights)
