"""The rates to come are the rates that come, and looking ahead changes nothing."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as rates
from torch.optim.swa_utils import SWALR

from unbroken.loop.rates_ahead import WIDENING, next_rates, scheduled_rates, whole_curve
from unbroken.loop.schedule import Schedule, warmup_cosine

CASES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "ours": lambda o: Schedule(o, warmup_cosine(3, 20), {}),
    "LambdaLR": lambda o: rates.LambdaLR(o, lambda n: 0.9**n),
    "MultiplicativeLR": lambda o: rates.MultiplicativeLR(o, lambda n: 0.95 + 0 * n),
    "StepLR": lambda o: rates.StepLR(o, 3),
    "MultiStepLR": lambda o: rates.MultiStepLR(o, [2, 5, 5, 8]),
    "LinearLR": lambda o: rates.LinearLR(o, 0.1, 1.0, 6),
    "ExponentialLR": lambda o: rates.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: rates.SequentialLR(
        o, [rates.LinearLR(o, 0.1, 1.0, 3), rates.MultiStepLR(o, [2, 4])], milestones=[3]
    ),
    "CosineAnnealingLR": lambda o: rates.CosineAnnealingLR(o, 5),
    "ChainedScheduler": lambda o: rates.ChainedScheduler(
        [rates.ConstantLR(o, 0.5, 4), rates.MultiStepLR(o, [3, 6])]
    ),
    "CyclicLR": lambda o: rates.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "CosineAnnealingWarmRestarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 2, 2),
    "OneCycleLR": lambda o: rates.OneCycleLR(o, 0.1, total_steps=12, three_phase=True),
    "PolynomialLR": lambda o: rates.PolynomialLR(o, 8, 2.0),
    "SWALR": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=6),
}


def built(name: str) -> tuple[torch.optim.Optimizer, Any]:
    """Return an optimiser of two groups and its schedule, two updates on."""
    groups = [{"params": [torch.zeros(2, requires_grad=True)], "lr": lr} for lr in (0.1, 0.02)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule = CASES[name](optimizer)
    for _ in range(2):
        advance(optimizer, schedule)
    return optimizer, schedule


def advance(optimizer: torch.optim.Optimizer, schedule: Any) -> None:
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of its own inner calls
        schedule.step()


@pytest.mark.parametrize("name", CASES)
def test_the_rates_to_come_are_those_that_come(name: str) -> None:
    """For every schedule, each group's rate at each of the next updates."""
    optimizer, schedule = built(name)
    ahead = next_rates(schedule, 8)
    assert 2 == len(ahead)
    seen: list[list[float]] = [[], []]
    for _ in range(8):
        for series, group in zip(seen, optimizer.param_groups, strict=True):
            series.append(float(group["lr"]))
        advance(optimizer, schedule)
    assert seen == ahead


@pytest.mark.parametrize("name", CASES)
def test_looking_ahead_changes_nothing(name: str) -> None:
    """Neither the schedule nor its optimiser has moved."""
    optimizer, schedule = built(name)
    before = copy.deepcopy((schedule.state_dict(), optimizer.param_groups))
    next_rates(schedule, 20)
    assert repr(before[0]) == repr(schedule.state_dict())
    assert repr(before[1]) == repr(optimizer.param_groups)
    held = [float(group["lr"]) for group in optimizer.param_groups]
    assert held == scheduled_rates(schedule)


def test_looking_ahead_leaves_a_rate_in_a_tensor_alone() -> None:
    """A fused or capturable optimiser holds its rate in a tensor, which a schedule sets in place."""
    rate = torch.tensor(0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    schedule = rates.CosineAnnealingLR(optimizer, 5)
    assert [[0.1]] == [[pytest.approx(series[0])] for series in next_rates(schedule, 4)]
    assert torch.tensor(0.1) == optimizer.param_groups[0]["lr"]


def test_a_schedule_that_ends_is_looked_at_to_its_end() -> None:
    """OneCycleLR refuses to step beyond its total; what it gives until then is compared."""
    _, schedule = built("OneCycleLR")
    assert [11, 11] == [len(series) for series in next_rates(schedule, 32)]


def test_a_schedule_by_scores_has_no_rates_to_come() -> None:
    """What depends on losses to come is not invented."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = rates.ReduceLROnPlateau(optimizer)
    assert [] == next_rates(schedule, 8)
    assert [] == scheduled_rates(schedule)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ours": lambda o, f: Schedule(o, f, {}),
    "LambdaLR": rates.LambdaLR,
    "in a sequence": lambda o, f: rates.SequentialLR(
        o, [rates.ConstantLR(o, 0.5, 3), rates.LambdaLR(o, f)], milestones=[4]
    ),
    "in a chain": lambda o, f: rates.ChainedScheduler(
        [rates.LambdaLR(o, f), rates.ConstantLR(o, 0.5, 3)]
    ),
    "multiplied": lambda o, f: rates.MultiplicativeLR(o, lambda n: max(f(n), 1e-3)),
}


def stable_then_decay(total: int) -> Callable[[int], float]:
    """A rate that stays up for four fifths of a run, and falls to zero in the last."""
    return lambda n: min(1.0, max(0.0, (total - n) / (0.2 * total)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("total", [300, 200_000])
def test_a_curve_that_parts_far_ahead_is_another(name: str, total: int) -> None:
    """However far a decay lies ahead, a whole curve tells it from a later one, and is cheap."""
    curves = []
    for length in (total, 2 * total):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        asked: list[int] = []
        falling = stable_then_decay(length)

        def counted(n: int, asked: list[int] = asked, falling: Any = falling) -> float:
            asked.append(n)
            return float(falling(n))

        schedule = FUNCTIONS[name](optimizer, counted)
        near, before = next_rates(schedule, 32), len(asked)
        curves.append((near, whole_curve(schedule)))
        assert len(asked) - before < 200, "a million updates may not be walked through"
    assert curves[0][0] == curves[1][0]
    assert curves[0][1] != curves[1][1]


@pytest.mark.parametrize("name", CASES)
def test_looking_at_the_whole_curve_changes_nothing(name: str) -> None:
    """Neither the schedule, nor its optimiser, nor a global generator has moved; twice is the same."""
    optimizer, schedule = built(name)
    before = copy.deepcopy((schedule.state_dict(), optimizer.param_groups))
    generator = torch.get_rng_state()
    assert whole_curve(schedule) == whole_curve(schedule)
    assert repr(before) == repr((schedule.state_dict(), optimizer.param_groups))
    assert torch.equal(generator, torch.get_rng_state())


def test_a_function_of_the_counter_is_asked_for_the_rates_that_come() -> None:
    """Where a rate needs none before it, the curve holds the true rates."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = FUNCTIONS["in a sequence"](optimizer, lambda n: 1 / (1 + n))
    (curve,) = whole_curve(schedule)
    (near,) = next_rates(schedule, 33)
    assert [near[ahead] for ahead in WIDENING if ahead <= 32] == curve[: WIDENING.index(32) + 1]


def test_a_table_is_looked_at_to_its_end() -> None:
    """A function that can't be asked beyond the run's end is no error: it ends there."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    table = [1.0] * 100
    (curve,) = whole_curve(rates.LambdaLR(optimizer, lambda n: table[n]))
    assert WIDENING[len(curve) - 1] < 100 <= WIDENING[len(curve)]
