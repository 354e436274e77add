"""The schedule is a pure function of the updates applied."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unbroken.errors import StateMismatch
from unbroken.loop.schedule import Schedule, warmup_cosine


def scheduled(*rates: float | torch.Tensor, warmup: int = 3, total: int = 10) -> Schedule:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    return Schedule(optimizer, warmup_cosine(warmup, total), {"warmup": warmup, "total": total})


def live_rates(schedule: Schedule) -> list[float]:
    return [float(group["lr"]) for group in schedule.optimizer.param_groups]


@given(st.integers(0, 50), st.integers(1, 200))
def test_no_update_is_wasted(warmup: int, total: int) -> None:
    """The first and the last update have a rate above zero, none is above one."""
    factor = warmup_cosine(min(warmup, total), total)
    values = [factor(n) for n in range(total)]
    assert all(0 < each <= 1 for each in values)
    assert 0.0 == factor(total)
    assert 0.0 == factor(total + 100)


@given(st.integers(1, 50), st.integers(1, 100))
def test_it_rises_to_the_full_rate_and_falls(warmup: int, after: int) -> None:
    """Linear up to update `warmup`, which has the full rate, then only down."""
    factor = warmup_cosine(warmup, warmup + after)
    values = [factor(n) for n in range(warmup + after)]
    assert [n / warmup for n in range(1, warmup + 1)] == values[:warmup]
    assert 1.0 == values[warmup - 1]
    assert values[warmup - 1 :] == sorted(values[warmup - 1 :], reverse=True)


def test_known_values() -> None:
    """The curve's literals: a quarter, half and full rate, then the half cosine."""
    factor = warmup_cosine(4, 7)
    expected = [0.25, 0.5, 0.75, 1.0, *(0.5 * (1 + math.cos(math.pi * n / 4)) for n in (1, 2, 3))]
    assert expected == [factor(n) for n in range(7)]


def test_each_group_keeps_its_own_base_rate() -> None:
    """All groups follow one curve, each from its base; a tensor rate is written in place."""
    tensor = torch.tensor(0.5)
    schedule = scheduled(0.1, tensor)
    assert [0.1 / 3, 0.5 / 3] == pytest.approx(live_rates(schedule))
    schedule.step()
    assert [0.2 / 3, 1.0 / 3] == pytest.approx(live_rates(schedule))
    assert tensor is schedule.optimizer.param_groups[1]["lr"]


@given(st.integers(0, 12), st.integers(0, 5))
def test_only_the_count_of_updates_matters(updates: int, detour: int) -> None:
    """A restored schedule has the rate of its count, whatever the optimiser held or was stepped."""
    straight = scheduled(0.1)
    for _ in range(updates):
        straight.step()
    other = scheduled(0.1)
    for _ in range(detour):
        other.step()
    other.optimizer.param_groups[0]["lr"] = 123.0
    other.load_state_dict(straight.state_dict())
    assert live_rates(straight) == live_rates(other)
    assert other.rates(updates) == live_rates(other)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scheduled(0.1, total=11), r"specification is .*'total': 11.*, was .*'total': 10"),
        (scheduled(0.2), r"base_rates is \[0\.2\], was \[0\.1\]"),
        (scheduled(0.1, 0.1), r"base_rates is \[0\.1, 0\.1\], was \[0\.1\]"),
    ],
)
def test_another_schedule_is_refused(other: Schedule, message: str) -> None:
    """A schedule of other numbers takes no count in, and says both."""
    saved = scheduled(0.1)
    saved.step()
    with pytest.raises(StateMismatch, match=message):
        other.load_state_dict(saved.state_dict())
    assert 0 == other.updates
