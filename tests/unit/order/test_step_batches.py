"""The order: every sample once an epoch, from any position on, whatever the cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.errors import SettingsInvalid
from unbroken.order.step_batches import StepBatches, sample_digest
from unbroken.state.position import Position

ORDERS = st.builds(
    lambda count, size, seed, lengths: StepBatches(
        [f"s{i}" for i in range(count)],
        [i * 7 % 13 for i in range(count)] if lengths else None,
        size,
        seed,
    ),
    st.integers(1, 90),
    st.integers(1, 20),
    st.integers(0, (1 << 64) - 1),
    st.booleans(),
)


def small(seed: int = 7, lengths: Sequence[int] | None = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)) -> Any:
    return StepBatches([f"sample-{i}" for i in range(10)], lengths, 4, seed)


def positions(order: StepBatches, steps: int) -> list[Position]:
    found = [Position()]
    for _ in range(steps):
        found.append(order.after(found[-1]))
    return found


def sequence(order: StepBatches, start: Position, count: int, size: int) -> list[int]:
    found: list[int] = []
    for micro in order.micro_batches(start, size):
        found.extend(micro.indices)
        if len(found) >= count:
            return found[:count]
    raise AssertionError("the order ended")


def test_a_new_run_starts_at_epoch_zero() -> None:
    """A new run begins with the first sample of the first step batch of epoch 0."""
    order = small()
    first = next(order.micro_batches(Position(), 3))
    assert Position(epoch=0, batch=0, samples=0, step=0, updates=0) == first.position
    assert tuple(order.epoch(0)[0][:3]) == first.indices
    assert [order.ids[i] for i in first.indices] == order.next_ids(Position(), 3)


def test_golden_orders_of_scheme_1() -> None:
    """Scheme 1 gives these orders for ever: an epoch that was begun is finished as it was."""
    assert GOLDEN_BY_LENGTH == [each.tolist() for n in (0, 1) for each in small().epoch(n)]
    assert GOLDEN_PLAIN == [each.tolist() for each in small(lengths=None).epoch(0)]
    assert GOLDEN_DIGEST == sample_digest(small().next_ids(Position(), 4))


GOLDEN_BY_LENGTH = [[1, 3, 6, 0], [7, 5], [9, 2, 4, 8], [7, 5], [3, 1, 6, 9], [0, 2, 8, 4]]
GOLDEN_PLAIN = [[1, 7, 6, 0], [4, 2, 8, 9], [3, 5]]
GOLDEN_DIGEST = "1ae5fd555a21dfa86519eb0589be93e2"


@settings(max_examples=150, deadline=None)
@given(ORDERS, st.integers(0, 5))
def test_every_sample_comes_exactly_once_an_epoch(order: StepBatches, epoch: int) -> None:
    """No sample is lost or repeated, and only one step batch of an epoch may be smaller."""
    batches = order.epoch(epoch)
    assert list(range(len(order.ids))) == sorted(i for each in batches for i in each.tolist())
    assert order.steps_per_epoch == len(batches)
    sizes = sorted(len(each) for each in batches)
    assert all(size == order.effective_batch for size in sizes[1:])
    assert 0 < sizes[0] <= order.effective_batch


@settings(max_examples=100, deadline=None)
@given(ORDERS, st.integers(1, 25), st.data())
def test_starting_anywhere_is_slicing(order: StepBatches, size: int, data: st.DataObject) -> None:
    """From any position on come the samples that an unbroken run uses, whatever the cut."""
    step = data.draw(st.integers(0, 2 * order.steps_per_epoch))
    position = positions(order, step)[-1]
    position = replace(position, samples=data.draw(st.integers(0, len(order.at(position)) - 1)))
    done = position.samples + sum(len(order.at(each)) for each in positions(order, step)[:-1])
    whole = sequence(order, Position(), done + 40, order.effective_batch)
    assert whole[done:] == sequence(order, position, 40, size)


@settings(max_examples=60, deadline=None)
@given(ORDERS, st.integers(1, 25))
def test_the_cut_changes_neither_samples_nor_digest(order: StepBatches, size: int) -> None:
    """A step batch cut into micro-batches of any size has the same samples and the same digest."""
    whole = [order.ids[i] for i in order.at(Position())]
    micros = list(islice(order.micro_batches(Position(), size), -(-len(whole) // size)))
    cut = [order.ids[i] for micro in micros for i in micro.indices]
    assert sample_digest(whole) == sample_digest(cut)
    assert [n * size for n in range(len(micros))] == [each.position.samples for each in micros]
    assert max(len(each.indices) for each in micros) <= size


@settings(max_examples=60, deadline=None)
@given(ORDERS)
def test_positions_count_what_is_completed(order: StepBatches) -> None:
    """After an epoch's last step batch the next epoch begins; nothing is left over."""
    found = positions(order, 2 * order.steps_per_epoch + 1)
    per_epoch = order.steps_per_epoch
    expected = [
        Position(epoch=n // per_epoch, batch=n % per_epoch, step=n) for n in range(len(found))
    ]
    assert expected == found


def test_the_order_is_the_same_each_time_and_forgets_nothing() -> None:
    """Asking for other epochs in between, or in another process, changes nothing."""
    order = small()
    first = [each.tolist() for each in order.epoch(3)]
    order.epoch(0)
    assert first == [each.tolist() for each in order.epoch(3)]
    assert first == [each.tolist() for each in small().epoch(3)]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Each epoch and each seed mixes the samples anew."""
    found = [str(small(seed).epoch(n)) for seed in (7, 8) for n in range(3)]
    assert len(found) == len(set(found))


def test_only_the_digest_of_ids_in_order_counts() -> None:
    """The digest is BLAKE2b-128 of the names joined by newlines, in step-batch order."""
    assert "cae66941d9efbd404e4d88758ea67670" == sample_digest([])
    assert sample_digest(["a", "b"]) == sample_digest(iter(["a", "b"]))
    assert sample_digest(["a", "b"]) != sample_digest(["b", "a"])
    assert sample_digest(["a", "b"]) != sample_digest(["ab"])


@pytest.mark.parametrize("change", ["ids", "lengths", "size", "seed", "count"])
def test_whatever_changes_the_order_is_a_fact(change: str) -> None:
    """Names, lengths, effective batch and seed each change the facts of the order."""
    ids, lengths = [f"s{i}" for i in range(6)], [1, 2, 3, 4, 5, 6]
    before = StepBatches(ids, lengths, 2, 7).facts()
    size, seed = (3 if change == "size" else 2), (8 if change == "seed" else 7)
    if change == "ids":
        ids[0] = "other"
    if change == "lengths":
        lengths[0] = 9
    if change == "count":
        ids, lengths = ids[1:], lengths[1:]
    assert before != StepBatches(ids, lengths, size, seed).facts()
    assert before == StepBatches([f"s{i}" for i in range(6)], np.arange(1, 7), 2, 7).facts()


def speech_lengths(count: int, tied: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Lengths as of IndexTTS2's data: lognormal of sigma 0.5, text tied to the codes or not."""
    own = np.random.default_rng(0)
    codes = np.clip(own.lognormal(np.log(280.0), 0.5, count), 20, 1800)
    free = 280.0 * own.lognormal(0.0, 0.5, count)
    text = np.clip(codes * own.lognormal(0.0, 0.25, count) if tied else free, 18, 3600) / 6.0
    return text.astype(np.int64), codes.astype(np.int64)


def padded_share(batches: list[Any], text: Any, codes: Any, micro: int) -> float:
    used = padded = 0
    for batch in batches:
        for start in range(0, len(batch), micro):
            cut = batch[start : start + micro]
            used += int(text[cut].sum() + codes[cut].sum())
            padded += len(cut) * int(text[cut].max() + codes[cut].max())
    return 1.0 - used / padded


@pytest.mark.parametrize(
    ("effective", "micro", "tied"),
    [(64, 64, True), (32, 8, True), (64, 8, True), (32, 8, False), (64, 8, False)],
)
def test_little_is_padded(effective: int, micro: int, tied: bool) -> None:
    """Sorted by codes, then text, less than 8 % of a batch is padding; at random about the half."""
    text, codes = speech_lengths(48_000, tied)
    ids = [str(i) for i in range(len(text))]
    by_length = StepBatches(ids, codes // 16 * 1000 + text, effective, 7)
    assert padded_share(by_length.epoch(0), text, codes, micro) < 0.08
    at_random = StepBatches(ids, None, effective, 7)
    assert padded_share(at_random.epoch(0), text, codes, micro) > 0.45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], None, 4, 7), "has no samples"),
        ((["a", "a", "b"], None, 4, 7), "1 sample names occur more than once"),
        ((["a", "b"], [1], 4, 7), "2 samples but 1 lengths"),
        ((["a"], None, 0, 7), "effective batch is 0"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    """An order that makes no sense is an error of the command."""
    with pytest.raises(SettingsInvalid, match=message):
        StepBatches(*arguments)
