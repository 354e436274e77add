"""Every draw in a loop's body is a function of seed and position, by a scheme with a number."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbroken.errors import CheckpointCorrupt
from unbroken.state.position import Position
from unbroken.state.random_streams import (
    SEED_SCHEME,
    SEED_SCHEMES,
    EpochStreams,
    MicroBatchStreams,
    PositionStreams,
    streams_of,
)


def at(step: int, samples: int) -> Position:
    return Position(step=step, samples=samples)


def test_golden_seeds() -> None:
    """A scheme gives these seeds for ever; new runs use the newest."""
    assert 3 == SEED_SCHEME == max(SEED_SCHEMES)
    for streams, golden in (
        (MicroBatchStreams(7), OF_SCHEME_1),
        (PositionStreams(7), OF_SCHEME_2),
        (EpochStreams(7), OF_SCHEME_2),
    ):
        assert golden == [streams.seed_at(at(0, 0)), streams.seed_at(at(3, 24))]


OF_SCHEME_1 = [4550269651368971452, 9369756822919195002]
OF_SCHEME_2 = [4417155849830973403, 1271729424792253222]


def test_golden_draws_of_a_step() -> None:
    """Before, in and after its micro-batches a step draws these numbers for ever."""
    streams, found = PositionStreams(7), []
    for begin, samples in (
        (streams.begin_step, 0),
        (streams.begin_micro_batch, 0),
        (streams.begin_micro_batch, 4),
        (streams.end_micro_batches, 8),
    ):
        begin(at(3, samples))
        found.append(random.getrandbits(32))
    assert found == [1617185490, 2601510105, 1889064905, 434559798]


def test_golden_draws_of_an_epochs_beginning() -> None:
    """The body of an epoch begins with these draws for ever; an older run's goes on as it was."""
    random.seed(5)
    PositionStreams(7).begin_epoch(3)
    left = random.getrandbits(32)
    random.seed(5)
    assert left == random.getrandbits(32)
    EpochStreams(7).begin_epoch(3)
    assert random.getrandbits(32) == 4247571400


def test_no_two_places_share_a_stream() -> None:
    """Every step, and each place in it, has draws of its own."""
    streams, seen = PositionStreams(7), []
    for step in range(3):
        streams.begin_step(at(step, 0))
        seen.append(float(torch.rand(())))
        for samples in (0, 1, 2):
            streams.begin_micro_batch(at(step, samples))
            seen.append(float(torch.rand(())))
        streams.end_micro_batches(at(step, 3))
        seen.append(float(torch.rand(())))
        streams.end_step()
    assert len(seen) == len(set(seen))


def test_a_step_that_is_resumed_inside_begins_alike() -> None:
    """What its beginning draws does not depend on the samples that are done."""
    streams, found = PositionStreams(7), []
    for samples in (0, 2):
        streams.begin_step(at(3, samples))
        found.append(float(torch.rand(())))
    assert found[0] == found[1]


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 10**6), st.integers(0, 10**4))
def test_a_seed_has_64_bits(seed: int, step: int, samples: int) -> None:
    """A derived seed is one that every generator takes."""
    for scheme in SEED_SCHEMES:
        assert 0 <= streams_of(scheme, seed).seed_at(at(step, samples)) < 1 << 64


def test_neighbouring_seeds_of_neighbouring_places_differ() -> None:
    """Seed, step and samples all count."""
    keys = itertools.product((0, 1), (0, 1), (0, 1))
    seeds = [PositionStreams(seed).seed_at(at(step, n)) for seed, step, n in keys]
    assert len(seeds) == len(set(seeds))


def test_the_first_scheme_puts_the_generators_back() -> None:
    """Runs that began with scheme 1 go on as they were: after a step the outer draws go on."""
    streams = MicroBatchStreams(7)
    torch.manual_seed(3)
    expected = torch.rand(2).tolist()
    torch.manual_seed(3)
    streams.begin_step(at(0, 0))
    streams.begin_micro_batch(at(0, 0))
    torch.rand(5)
    streams.end_micro_batches(at(0, 4))
    streams.end_step()
    assert expected == torch.rand(2).tolist()


def test_an_unknown_scheme_is_refused() -> None:
    """A later version's run is told as that."""
    with pytest.raises(CheckpointCorrupt, match="seed scheme 4"):
        streams_of(4, 7)
