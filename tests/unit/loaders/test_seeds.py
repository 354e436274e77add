"""What a loader draws is a function of seed and place, by a scheme with a number."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from unbroken.loaders.found_generators import generators_in
from unbroken.loaders.seeds import (
    LOADER_SCHEME,
    Draws,
    fetch_seed,
    order_seed,
    sample_seed,
    sample_seeds,
)


def test_golden_seeds() -> None:
    """Scheme 1 gives these seeds for ever."""
    assert 1 == LOADER_SCHEME
    found = [
        order_seed(7, 3),
        fetch_seed(7, 3, 5),
        sample_seed(7, 3, 5, 9),
        sample_seed(7, 3, 5, "a"),
    ]
    assert found == GOLDEN


GOLDEN = [5742609240744699660, 5040603462860856268, 6546562821067130582, 8918546760646836986]


def test_the_seeds_of_a_batch_are_those_of_its_samples() -> None:
    """Whatever a sampler calls them: numbers of any size and sign, texts, pairs, numbers of numpy."""
    indices = [0, 9, -1, 1 << 70, "a", (3, 4), np.int64(9), True]
    found = sample_seeds(7, 3, 5, indices).tolist()
    assert found == [sample_seed(7, 3, 5 + i, each) for i, each in enumerate(indices)]


def test_draws_go_on_where_they_were_and_leave_no_trace() -> None:
    """Inside, the generators go on from a seed of their own; outside, nothing was drawn."""
    own = np.random.default_rng(1)
    outside = own.bit_generator.state
    torch.manual_seed(0)
    expected = torch.rand(2).tolist()
    torch.manual_seed(0)
    inside, again = Draws(5, [own]), Draws(5, [own])
    found = []
    for _ in range(2):
        with inside.going_on():
            found += [float(torch.rand(())), float(own.random()), random.getrandbits(9)]
        assert own.bit_generator.state == outside
    with again.going_on():
        for _ in range(2):
            found += [float(torch.rand(())), float(own.random()), random.getrandbits(9)]
    assert found[:6] == found[6:]
    assert expected == torch.rand(2).tolist()


class Augmentation:
    """Keeps generators where transforms keep them."""

    def __init__(self) -> None:
        self.steps = [{"rng": random.Random(3)}]  # noqa: S311
        self.torch = torch.Generator()
        self.model = torch.nn.Linear(2, 2)
        self.state = np.random.RandomState(1)
        self.itself = self


def test_generators_are_found_where_they_are_kept() -> None:
    """In attributes, lists and dicts; each once."""
    kept = Augmentation()
    found = generators_in(kept)
    assert {id(each) for each in found} == {
        id(each) for each in (kept.steps[0]["rng"], kept.torch, kept.state)
    }
    assert len(found) == 3


@pytest.mark.parametrize("value", [None, 3, "text", [1] * 1000, torch.zeros(3)])
def test_nothing_is_found_in_what_keeps_none(value: object) -> None:
    """Data are not searched."""
    assert generators_in(value) == []
