"""A schedule that the loop moves and whose new curve was accepted: the rates in force are the new curve's.

PyTorch's schedules compute most rates from the one before. Only their settings replaced, they would go on
from the old rate, on neither curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unbroken.loop.rates_ahead import next_rates
from unbroken.loop.schedule import set_rate

BASES: Final = ("initial_lr", "max_lr", "min_lr")
"""Entries of a group that a schedule writes when it is built, and derives its rates from."""


def accepted_rates(schedule: Any, saved: Mapping[str, Any]) -> Callable[[], None]:
    """Return what puts the new curve's rates into the optimizer, once everything else is restored.

    Args:
        schedule: As the code built it, at the beginning of its curve.
        saved: Its state in the checkpoint.
    """
    made = saved.get("last_epoch")
    if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
        return _nothing
    if not isinstance(made, int):
        return _nothing
    count = made - schedule.last_epoch + 1
    series = next_rates(schedule, count)
    groups = schedule.optimizer.param_groups
    bases: list[dict[str, Any]] = [{k: g[k] for k in BASES if k in g} for g in groups]
    if len(series) != len(groups) or any(len(each) != count for each in series):
        return _nothing  # it can't be foreseen

    def put() -> None:
        for group, rates, base in zip(schedule.optimizer.param_groups, series, bases, strict=True):
            group.update(base)
            set_rate(group, rates[-1])

    return put


def _nothing() -> None:
    """Leave the rates as they were saved."""
