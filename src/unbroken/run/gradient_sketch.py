"""A sketch of the gradients that a loop's own updates are made with: seen as an optimiser steps.

Their norm would read every gradient once more. A few entries of a few of them are read instead, as of the
weights (see `unbroken.state.fingerprint`): another gradient moves them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch

from unbroken.state.step_hooks import tell_before, tell_no_more
from unbroken.state.training_state import TrainingState

TENSORS: Final = 12
"""How many gradients of an optimiser are looked at, spread evenly over its parameters."""
ENTRIES: Final = 16
"""Neighbouring entries of each, from its middle."""


class Sketch(NamedTuple):
    """What some entries of the gradients came to; NaN where nothing stepped."""

    norm: float = math.nan
    direction: float = math.nan
    """Their sum, divided by their norm: a factor on all of them, as of clipping, leaves it."""


class GradientSketch:
    """Looks at the gradients of each declared optimiser at its first step of a batch.

    Args:
        state: Knows the declared optimisers.
        at_first: Called before the first of them steps.
    """

    def __init__(self, state: TrainingState, at_first: Callable[[], None]) -> None:
        self._steps = state.optimizer_steps
        self._at_first = at_first
        self._entries: dict[str, torch.Tensor | None] = {}

    def begin(self) -> None:
        """Begin a batch; hear of every update until `end`."""
        tell_before(self)

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at the gradients of an optimiser that is about to step."""
        name = self._steps.name_of(optimizer)
        if not name or name in self._entries:
            return
        if not self._entries:
            self._at_first()
        self._entries[name] = _entries(optimizer)

    def end(self) -> Sketch:
        """Hear no more; return what was looked at."""
        tell_no_more(self)
        found = [each for each in self._entries.values() if each is not None]
        if not found:
            return Sketch()
        entries = [entry for each in found for entry in each.tolist()]
        norm = math.hypot(*entries)
        is_plain = math.isfinite(norm) and norm > 0
        return Sketch(norm, math.fsum(entries) / norm if is_plain else math.nan)


def _entries(optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """Return some entries of an optimiser's gradients, 1-dim, without waiting for them."""
    groups = optimizer.param_groups
    held = groups[0]["params"] if len(groups) == 1 else [p for g in groups for p in g["params"]]
    count = len(held)
    chosen = held if count <= TENSORS else [held[i * count // TENSORS] for i in range(TENSORS)]
    device = held[0].device if held else None
    found = []
    for each in chosen:
        gradient = each.grad
        if gradient is not None and gradient.device == device:
            found.append(_middle(gradient))
    return torch.cat(found) if found else None


def _middle(gradient: torch.Tensor) -> torch.Tensor:
    """Return its middle entries, 1-dim and float32; a view where it can be one."""
    if gradient.requires_grad:
        gradient = gradient.detach()
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.coalesce().values()
    count = gradient.numel()
    if count >= ENTRIES and type(gradient) is torch.Tensor and gradient.is_contiguous():
        start = gradient.storage_offset() + count // 2 - ENTRIES // 2
        entries = gradient.as_strided((ENTRIES,), (1,), start)  # one operation instead of two
    else:
        start = max(0, count // 2 - ENTRIES // 2)
        entries = gradient.reshape(-1)[start : start + ENTRIES]
    return entries if entries.dtype is torch.float32 else entries.float()
