"""The global generators: set from one seed, captured and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from unbroken.state.mix import mix64
from unbroken.state.randomness import (
    GeneratorStates,
    has_drawn_since,
    seed_everything,
    seeds_of,
    seeds_of_each,
)


def draws() -> list[Any]:
    return [
        torch.rand(3).tolist(),
        torch.randn(2).tolist(),
        np.random.rand(3).tolist(),  # noqa: NPY002  # the global generator is the subject
        np.random.randn(1).tolist(),  # noqa: NPY002  # likewise; leaves a cached gaussian behind
        random.random(),  # noqa: S311  # likewise
        random.gauss(0, 1),
    ]


@pytest.mark.parametrize("seed", [0, 7, (1 << 64) - 1, 1 << 63])
def test_the_same_seed_gives_the_same_draws(seed: int) -> None:
    """After seeding, all global generators are where they were, whatever was drawn before."""
    seed_everything(seed)
    first = draws()
    draws()
    torch.rand(17)
    seed_everything(seed)
    assert first == draws()


@pytest.mark.parametrize("seed", [0, 7, (1 << 64) - 1, 1 << 63])
def test_each_generator_is_set_by_its_own_way(seed: int) -> None:
    """Seeding is `manual_seed` of torch, `seed` of numpy and `random`, with seeds mixed from one."""
    random.gauss(0, 1)
    seed_everything(seed)
    found = draws()
    torch.manual_seed(seed)
    np.random.seed(mix64(seed, 1) & 0xFFFFFFFF)  # noqa: NPY002  # the global generator is the subject
    random.seed(mix64(seed, 2))
    assert draws() == found


def test_the_seeds_of_many_are_those_of_each() -> None:
    """What is derived at once for the samples of a batch is what is derived for one."""
    seeds = [0, 7, (1 << 64) - 1, 1 << 63]
    assert [seeds_of(each) for each in seeds] == seeds_of_each(np.array(seeds, dtype=np.uint64))


def test_captured_generators_go_on_where_they_were() -> None:
    """The draws after putting the states back are the ones that would have come."""
    draws()
    states = GeneratorStates.capture()
    expected = draws()
    seed_everything(3)
    draws()
    states.put_back()
    assert expected == draws()


def test_a_draw_from_any_generator_is_noticed() -> None:
    """Torch, numpy and python are looked at, and looking draws nothing."""
    for draw in (
        lambda: torch.rand(1),
        lambda: np.random.rand(1),  # noqa: NPY002  # the global generator is the subject
        random.random,
    ):
        seed_everything(5)
        assert not has_drawn_since(5)
        draw()
        assert has_drawn_since(5)


def test_asking_for_devices_makes_no_context() -> None:
    """A process without CUDA in use stays without."""
    before = torch.cuda.is_initialized()
    GeneratorStates.capture().put_back()
    seed_everything(1)
    assert torch.cuda.is_initialized() == before
