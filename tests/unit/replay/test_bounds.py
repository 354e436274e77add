"""The bounds of rounding lie below what a fault of one per cent does."""

from __future__ import annotations

import pytest

from unbroken.journal.change import Kind
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.bounds import BOUNDS, bound_for

PLANTED = {
    Arithmetic("fp32", "cpu"): 1.34e-3,
    Arithmetic("bf16", "cpu"): 1.44e-3,
    Arithmetic("fp16", "cpu"): 1.51e-3,
    Arithmetic("tf32", "cpu"): 1.34e-3,
    Arithmetic("fp32", "cuda"): 1.28e-3,
    Arithmetic("tf32", "cuda"): 1.33e-3,
    Arithmetic("bf16", "cuda"): 1.33e-3,
    Arithmetic("fp16", "cuda"): 1.34e-3,
}
"""How far the benchmark saw 1 % of a leaf move the gradient's norm, at least."""


@pytest.mark.parametrize("arithmetic", BOUNDS, ids=str)
def test_no_bound_reaches_what_one_per_cent_of_a_leaf_does(arithmetic: Arithmetic) -> None:
    """The smallest planted effect that the benchmark saw lies above all changes together."""
    for device in BOUNDS[arithmetic].keys() & {Kind.DEVICE, Kind.CARD} or {Kind.KERNELS}:
        bound = bound_for(arithmetic, {Kind.THREADS, Kind.KERNELS, Kind.CUT, device})
        assert bound is not None
        assert bound.gradient < PLANTED[arithmetic]


def test_threads_beside_a_card_are_judged_as_other_kernels() -> None:
    """They prepare its batches only; a move to another machine changes their number as well."""
    on_a_card = Arithmetic("bf16", "cuda")
    kernels = bound_for(on_a_card, {Kind.KERNELS})
    assert kernels == bound_for(on_a_card, {Kind.THREADS})
    assert kernels == bound_for(on_a_card, {Kind.THREADS, Kind.KERNELS})
