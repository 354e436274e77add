"""The learning rates to come, without stepping the schedule they come from."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch

from unbroken.loop.schedule import Schedule


def next_rates(schedule: Any, count: int) -> list[list[float]]:
    """Return, for each group, the rates that a schedule will give at its next updates.

    A schedule of ours is a function of its counter. One of PyTorch's is copied, with a tiny
    optimiser in the place of its own, and stepped; what can't be stepped so gives nothing.
    """
    if isinstance(schedule, Schedule):
        each_update = [schedule.rates(schedule.updates + i) for i in range(count)]
        return [list(series) for series in zip(*each_update, strict=True)]
    if not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        return []
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return []  # its rates depend on scores to come
    groups = [
        {**{key: _copied(each) for key, each in group.items()}, "params": [torch.zeros(1)]}
        for group in schedule.optimizer.param_groups
    ]
    stand_in = torch.optim.SGD(groups, lr=0.0)  # its steps are never made
    ahead = copy.deepcopy(schedule, {id(schedule.optimizer): stand_in})
    series: list[list[float]] = [[] for _ in groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the steps of an optimiser that never steps
        for _ in range(count):
            for rates, group in zip(series, stand_in.param_groups, strict=True):
                rates.append(float(group["lr"]))
            try:
                ahead.step()
            except ValueError:  # the end of a schedule that has one
                break
    return series


def _copied(value: Any) -> Any:
    """Return a copy of an option of a group: a rate in a tensor is set in place by its schedule."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.copy(value)


def scheduled_rates(schedule: Any) -> list[float]:
    """Return, for each group, the rate a schedule says is in force; nothing where it does not say."""
    if isinstance(schedule, Schedule):
        return schedule.rates(schedule.updates)
    if not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        return []
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return []
    return [float(each) for each in schedule.get_last_lr()]
