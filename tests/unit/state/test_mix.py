"""Our own mixing: literals for ever, and permutations that are permutations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.state.mix import ORDER_SCHEME, mix64, mix64_each, mix64_on, permutation

WORDS = st.integers(0, (1 << 64) - 1)

GOLDEN_MIX = {
    (): 0,
    (0,): 16294208416658607535,
    (1,): 10451216379200822465,
    (7, 0, 0): 11241344834629033336,
    (0, 7, 0): 7893390450327272105,
    (-1, 2**64): 6755974106381971767,
    (1234, 56, 789): 9989939308354796801,
}
GOLDEN_PERMUTATIONS = {
    (1, 7): [0],
    (10, 7, 0, 0): [1, 7, 6, 0, 4, 2, 8, 9, 3, 5],
    (10, 7, 1, 0): [9, 3, 8, 7, 6, 0, 5, 4, 2, 1],
    (10, 8, 0, 0): [4, 9, 2, 0, 6, 1, 3, 8, 7, 5],
    (10, 7, 0, 1): [7, 5, 3, 6, 0, 8, 9, 2, 4, 1],
}


def test_golden_literals_of_scheme_1() -> None:
    """Scheme 1 gives these numbers for ever: runs that were born with it go on with them."""
    assert 1 == ORDER_SCHEME
    assert GOLDEN_MIX == {numbers: mix64(*numbers) for numbers in GOLDEN_MIX}
    assert GOLDEN_PERMUTATIONS == {
        given: permutation(*given).tolist() for given in GOLDEN_PERMUTATIONS
    }


def test_the_first_round_is_splitmix64() -> None:
    """From the state 0 the published generator gives this first number."""
    assert 0xE220A8397B1DCDAF == mix64(0)


def test_a_large_permutation_is_what_it_was() -> None:
    """The digest of a long permutation stands for all of its entries."""
    assert 7811085483034246906 == mix64(*permutation(5000, 7, 3, 0).tolist())


@given(WORDS, st.lists(WORDS, max_size=20))
def test_the_vectorised_round_is_the_same(seed: int, numbers: list[int]) -> None:
    """Mixing many numbers at once is mixing each of them."""
    with np.errstate(over="ignore"):
        found = mix64_each(seed, np.array(numbers, dtype=np.uint64))
    expected = []
    for number in numbers:
        state = (seed + 0x9E3779B97F4A7C15 + number) % (1 << 64)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % (1 << 64)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % (1 << 64)
        expected.append(state ^ (state >> 31))
    assert expected == found.tolist()


@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=5))
def test_mixing_goes_on(before: list[int], after: list[int]) -> None:
    """What was mixed may be kept, and more be mixed into it."""
    assert mix64(*before, *after) == mix64_on(mix64(*before), *after)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3000), WORDS, st.integers(0, 1000))
def test_a_permutation_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    """Every number stands in it exactly once."""
    assert list(range(count)) == sorted(permutation(count, seed, epoch).tolist())


@pytest.mark.parametrize("other", [(8, 0), (7, 1), (0, 7)])
def test_other_seeds_give_other_permutations(other: tuple[int, int]) -> None:
    """Seed and epoch each change the order, and they are not interchangeable."""
    assert permutation(50, 7, 0).tolist() != permutation(50, *other).tolist()


def test_first_places_are_uniform() -> None:
    """Over many seeds, each of eight numbers comes first about equally often (chi-square, 7 df)."""
    first = np.bincount([permutation(8, seed, 0)[0] for seed in range(4000)], minlength=8)
    assert ((first - 500.0) ** 2 / 500.0).sum() < 24.3  # p = 0.001
