"""The flat view of a state: each tensor's digest, and which of them hold what is not finite."""

from __future__ import annotations

import pytest
import torch

from unbroken.run.flat_state import DIGEST_BLOCK, digested, digested_and_nonfinite

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("place", [0, DIGEST_BLOCK // 4, -1])
def test_one_entry_that_is_not_finite_is_found_anywhere(dtype: torch.dtype, place: int) -> None:
    """In the first block, a later one, and the last entry; the digests are those of a plain look."""
    good = torch.ones(DIGEST_BLOCK // 4 + 3).to(dtype)
    bad = good.clone()
    bad[place] = float("nan")
    tensors = {"good": good, "bad": bad, "count": torch.tensor(3), "none": torch.ones(0)}
    seen, nonfinite = digested_and_nonfinite(tensors)
    assert ["bad"] == nonfinite
    assert digested(tensors) == seen


def test_a_sum_that_overflows_is_no_alarm() -> None:
    """Entries near the largest number are finite, though their sum is not."""
    large = {"large": torch.full((9,), torch.finfo(torch.float32).max)}
    assert [] == digested_and_nonfinite(large)[1]


def test_a_view_is_seen_in_its_own_order() -> None:
    """Not contiguous, negated lazily, complex: as they would be written."""
    turned = torch.arange(6.0).view(2, 3).t()
    lazy = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    tensors = {"turned": turned, "lazy": lazy, "whole": turned.contiguous()}
    seen, nonfinite = digested_and_nonfinite(tensors)
    assert [] == nonfinite
    assert seen["turned"] == seen["whole"]
    assert digested(tensors) == seen
