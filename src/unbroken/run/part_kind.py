"""Of what kind each part of a run is, as the checks tell them apart."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from unbroken.checks.declared_values import OF_VALUES
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN
from unbroken.loop.rates_ahead import has_known_counters
from unbroken.loop.schedule import Schedule
from unbroken.state.modules import ModulePart
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.values import Values


def kind_of(part: Any, schedule: Any) -> str:
    """Return of what kind a part is.

    Args:
        part: Of the live state.
        schedule: What the run moves with each update under the part's name; None where it moves nothing.
    """
    if isinstance(part, ModulePart):
        return "model"
    if isinstance(part, OptimizerPart):
        return "optimizer"
    if schedule is not None and has_known_counters(schedule):
        return OF_RUN
    if isinstance(part.target, LRScheduler | Schedule) and has_known_counters(part.target):
        return OF_LOOP
    if isinstance(part.target, Values):
        return OF_VALUES
    return "scaler" if isinstance(part.target, torch.amp.GradScaler) else "other"
