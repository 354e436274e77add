"""A tree's total is the same to the last bit, however its leaves are divided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbroken.ranks.sum_tree import SumTree

Leaves = list[tuple[torch.Tensor | None, ...]]


def leaves(count: int, seed: int) -> Leaves:
    """Return leaves of two values each, of very different sizes; some of the second are not there."""
    drawn = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.randint(-6, 6, (count,), generator=drawn)
    return [
        (torch.randn(3, generator=drawn) * each, torch.ones(2) if i % 3 else None)
        for i, each in enumerate(scale)
    ]


@given(st.integers(1, 40), st.integers(0, 99), st.lists(st.integers(0, 40), max_size=6))
def test_however_it_is_divided(count: int, seed: int, cuts: list[int]) -> None:
    """One tree, or the trees of neighbouring shares, some of which may be empty."""
    whole = SumTree()
    for index, each in enumerate(leaves(count, seed)):
        whole.add_leaf(index, each)
    assert len(whole.nodes) <= count.bit_length()
    shares, begin, given_leaves = [], 0, leaves(count, seed)
    for end in [*sorted(min(each, count) for each in cuts), count]:
        share = SumTree()
        for index in range(begin, end):
            share.add_leaf(index, given_leaves[index])
        shares.append(share.nodes)
        begin = end
    joined = SumTree()
    for node in (each for nodes in shares for each in nodes):
        joined.add(node)
    for a, b in zip(joined.total(), whole.total(), strict=True):
        assert (a is None) == (b is None)
        assert a is None or b is None or torch.equal(a, b)


def test_a_tree_without_its_first_leaf_has_no_total() -> None:
    """Something would be left out without a word."""
    tree = SumTree()
    with pytest.raises(ValueError, match="from the first on"):
        tree.total()
    tree.add_leaf(1, (torch.ones(1),))
    with pytest.raises(ValueError, match="from the first on"):
        tree.total()
