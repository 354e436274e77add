"""The norm of the gradients that a loop's own updates are made with: seen as an optimiser steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from unbroken.state.step_hooks import tell_before, tell_no_more
from unbroken.state.training_state import TrainingState


class GradientNorm:
    """Measures the gradients of each declared optimiser at its first step of a batch.

    Args:
        state: Knows the declared optimisers.
        at_first: Called before the first of them steps.
    """

    def __init__(self, state: TrainingState, at_first: Callable[[], None]) -> None:
        self._optimizers = {id(each) for each in state.optimizers}
        self._at_first = at_first
        self._norms: dict[int, torch.Tensor] = {}

    def begin(self) -> None:
        """Begin a batch; hear of every update until `end`."""
        self._norms.clear()
        tell_before(self)

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure the gradients of an optimiser that is about to step."""
        if id(optimizer) not in self._optimizers or id(optimizer) in self._norms:
            return
        if not self._norms:
            self._at_first()
        self._norms[id(optimizer)] = _norm(optimizer)

    def end(self) -> float:
        """Hear no more; return the norm of all that was seen, NaN where nothing stepped."""
        tell_no_more(self)
        if not self._norms:
            return math.nan
        return math.hypot(*(float(each) for each in self._norms.values()))


def _norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """Return the norm of an optimiser's gradients, 0-dim, without waiting for it."""
    gradients: list[Any] = [
        each.grad.coalesce().values() if each.grad.layout is torch.sparse_coo else each.grad
        for group in optimizer.param_groups
        for each in group["params"]
        if each.grad is not None
    ]
    if not gradients:
        return torch.zeros(())
    with torch.no_grad():
        return torch.nn.utils.get_total_norm(gradients)
