"""Tells of every optimizer's step in this process, for as long as who listens is alive.

PyTorch's hooks are registered once and stay: one that came or went while PyTorch goes through them, as
when the garbage collector ends a run within a step, would make that step fail.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any, Protocol

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


class BeforeUpdate(Protocol):
    """Is told before each step."""

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in that an optimizer is about to step."""
        ...


class AfterUpdate(Protocol):
    """Is told after each step."""

    def took(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in that an optimizer has stepped."""
        ...


_before: weakref.WeakSet[BeforeUpdate] = weakref.WeakSet()
_after: weakref.WeakSet[AfterUpdate] = weakref.WeakSet()


def tell_before(listener: BeforeUpdate) -> None:
    """Tell a listener before each step, until `tell_no_more`."""
    _register()
    _before.add(listener)


def tell_after(listener: AfterUpdate) -> None:
    """Tell a listener after each step, for as long as it is alive."""
    _register()
    _after.add(listener)


def tell_no_more(listener: BeforeUpdate) -> None:
    """Tell a listener of no further step."""
    _before.discard(listener)


@cache
def _register() -> None:
    register_optimizer_step_pre_hook(_tell_before)
    register_optimizer_step_post_hook(_tell_after)


def _tell_before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for each in list(_before):
        each.before_update(optimizer)


def _tell_after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for each in list(_after):
        each.took(optimizer)
