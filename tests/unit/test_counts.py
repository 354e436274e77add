"""Counts read as a person writes them."""

from __future__ import annotations

import pytest

from unbroken.counts import counted


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1.0, "1 step"), (0.5, "0.5 steps"),
     (12345, "12345 steps")],
)  # fmt: skip
def test_only_one_is_singular(number: float, said: str) -> None:
    """1 and 1.0 alone."""
    assert said == counted(number, "step")
