"""The learning rates to come, without stepping the schedule they come from."""

from __future__ import annotations

import copy
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from unbroken.loop.schedule import Schedule, set_rate
from unbroken.state.randomness import GeneratorStates

WIDENING: Final = tuple(sorted({round(2 ** (i / 4)) for i in range(81)}))
"""Updates ahead at which a whole curve is looked at: 1, 2, 3, then ever wider, up to 2**20.

Each is at most a fifth further than the one before, so a phase that takes a fifth of a run, such as
the decay after a stable phase, is met wherever it lies.
"""


def next_rates(schedule: Any, count: int) -> list[list[float]]:
    """Return, for each group, the rates that a schedule will give at its next updates.

    A schedule of ours is a function of its counter. One of PyTorch's is copied, with a tiny
    optimiser in the place of its own, and stepped; what can't be stepped so gives nothing.
    """
    if isinstance(schedule, Schedule):
        return _by_group(lambda ahead: schedule.rates(schedule.updates + ahead), range(count))
    if not foresees(schedule):
        return []
    with _looking() as draws:
        copied = _copy(schedule)

        def one_more(ahead: int) -> list[float]:
            if ahead:
                copied.step()
            return _held(copied)

        found = _by_group(one_more, range(count))
        return [] if draws() else found


def whole_curve(schedule: Any) -> list[list[float]]:
    """Return, for each group, what a schedule gives as many updates ahead as `WIDENING` says.

    A function is asked for these updates alone, so that a long run costs no more than a short one.
    Where a schedule of PyTorch's computes each rate from the one before, it is asked as if it had come
    here in one leap: not the rate to come, but the same number as long as the schedule is the same.
    """
    if isinstance(schedule, Schedule):
        return _by_group(lambda ahead: schedule.rates(schedule.updates + ahead), WIDENING)
    if not foresees(schedule):
        return []
    with _looking() as draws:
        copied = _copy(schedule)
        held, here = _held(copied), _steps_made(copied)

        def leapt(ahead: int) -> list[float]:
            for group, rate in zip(copied.optimizer.param_groups, held, strict=True):
                set_rate(group, rate)
            return _leap(copied, here + ahead)

        found = _by_group(leapt, WIDENING)
        return [] if draws() else found


def foresees(schedule: Any) -> bool:
    """Say whether a schedule's rates follow from its counter; those of a plateau follow from scores."""
    if isinstance(schedule, Schedule):
        return True
    return isinstance(schedule, LRScheduler) and not isinstance(schedule, ReduceLROnPlateau)


def has_known_counters(schedule: Any) -> bool:
    """Say whether it is known which numbers of a schedule move; those of foreign classes may all."""
    inner = getattr(schedule, "_schedulers", [])
    is_known = isinstance(schedule, Schedule) or type(schedule).__module__.startswith("torch.")
    return is_known and all(has_known_counters(each) for each in inner)


def _by_group(
    rates: Callable[[int], list[float]], updates: tuple[int, ...] | range
) -> list[list[float]]:
    """Return the series of each group, up to where a schedule that has an end ends."""
    each_update = []
    for ahead in updates:
        try:
            each_update.append(rates(ahead))
        except Exception:  # noqa: BLE001  # a user's function may end in any way, such as beyond a table
            break
    return [list(series) for series in zip(*each_update, strict=True)]


@contextmanager
def _looking() -> Iterator[Callable[[], bool]]:
    """Leave the global generators alone; say whether one was drawn from: then nothing is foreseen."""
    generators = GeneratorStates.capture()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses the steps of an optimiser that never steps
            yield lambda: not generators.is_same_as(GeneratorStates.capture())
    finally:
        generators.put_back()


def _copy(schedule: LRScheduler) -> LRScheduler:
    """Return a copy over a tiny optimiser that holds the same rates."""
    groups = [
        {**{key: _copied(each) for key, each in group.items()}, "params": [torch.zeros(1)]}
        for group in schedule.optimizer.param_groups
    ]
    stand_in = torch.optim.SGD(groups, lr=0.0)  # its steps are never made
    return copy.deepcopy(schedule, {id(schedule.optimizer): stand_in})


def _copied(value: Any) -> Any:
    """Return a copy of an option of a group: a rate in a tensor is set in place by its schedule."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.copy(value)


def _held(schedule: LRScheduler) -> list[float]:
    return [float(group["lr"]) for group in schedule.optimizer.param_groups]


def _steps_made(schedule: LRScheduler) -> int:
    if isinstance(schedule, ChainedScheduler):  # it counts nothing itself
        return _steps_made(schedule._schedulers[0])  # noqa: SLF001  # PyTorch has no public name for them
    return int(schedule.last_epoch)


def _leap(schedule: LRScheduler, count: int) -> list[float]:
    """Return what a copied schedule gives at its step number `count`, without the steps before."""
    if isinstance(schedule, SequentialLR):
        milestones = schedule._milestones  # noqa: SLF001  # PyTorch has no public name for them
        phase = bisect_right(milestones, count)
        inner = schedule._schedulers[phase]  # noqa: SLF001  # likewise
        return _leap(inner, count - (milestones[phase - 1] if phase else 0))
    if isinstance(schedule, ChainedScheduler):
        return _product([_leap(each, count) for each in schedule._schedulers])  # noqa: SLF001  # likewise
    schedule.last_epoch = count - 1
    closed_form = getattr(schedule, "_get_closed_form_lr", None)
    if closed_form is not None:
        schedule.last_epoch = count
        return [float(each) for each in closed_form()]
    schedule.step()
    return _held(schedule)


def _product(series: list[list[float]]) -> list[float]:
    """Return one number a group in which every schedule of a chain shows."""
    product = [1.0] * len(series[0])
    for rates in series:
        product = [a * b for a, b in zip(product, rates, strict=True)]
    return product


def scheduled_rates(schedule: Any) -> list[float]:
    """Return, for each group, the rate a schedule says is in force; nothing where it does not say."""
    if isinstance(schedule, Schedule):
        return schedule.rates(schedule.updates)
    if not foresees(schedule):
        return []
    return [float(each) for each in schedule.get_last_lr()]
