"""The position: counters of things completed, read back strictly."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.errors import CheckpointCorrupt
from unbroken.state.position import Position

NAMES = [field.name for field in fields(Position)]


def test_a_new_run_stands_at_zero_everywhere() -> None:
    """Nothing is completed at the birth of a run."""
    assert {
        "epoch": 0,
        "batch": 0,
        "samples": 0,
        "step": 0,
        "updates": 0,
    } == Position().state_dict()


@given(st.fixed_dictionaries({name: st.integers(0, 1 << 60) for name in NAMES}))
def test_a_position_comes_back(counters: dict[str, int]) -> None:
    """Every declared counter is saved and read back."""
    assert counters == Position.from_state(Position(**counters).state_dict()).state_dict()


@pytest.mark.parametrize("wrong", [-1, 1.0, True, None, "1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_counter_that_counts_nothing_is_refused(name: str, wrong: Any) -> None:
    """A counter that is negative or no whole number is damage."""
    with pytest.raises(CheckpointCorrupt):
        Position.from_state({**Position().state_dict(), name: wrong})


@pytest.mark.parametrize("state", [None, [], {}, {"epoch": 0}, {**Position().state_dict(), "x": 0}])
def test_missing_and_surplus_counters_are_refused(state: Any) -> None:
    """A position has all its counters and no other."""
    with pytest.raises(CheckpointCorrupt):
        Position.from_state(state)
