"""Tells of every optimizer's step in this process, for as long as who listens is alive.

PyTorch's hooks are registered once and stay: one that came or went while PyTorch goes through them, as
when the garbage collector ends a run within a step, would make that step fail.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

Listener = TypeVar("Listener")


class BeforeUpdate(Protocol):
    """Is told before each step, once its gradients are in."""

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in that an optimizer is about to step; where a closure goes backward, after its first call."""
        ...


class AfterUpdate(Protocol):
    """Is told after each step."""

    def took(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in that an optimizer has stepped."""
        ...


_before: dict[int, weakref.ref[BeforeUpdate]] = {}
_after: dict[int, weakref.ref[AfterUpdate]] = {}
"""Who listens, by identity: going through a `WeakSet` takes longer than what is told."""


def tell_before(listener: BeforeUpdate) -> None:
    """Tell a listener before each step, until `tell_no_more`."""
    _register()
    _keep(_before, listener)


def tell_after(listener: AfterUpdate) -> None:
    """Tell a listener after each step, for as long as it is alive."""
    _register()
    _keep(_after, listener)


def tell_no_more(listener: BeforeUpdate) -> None:
    """Tell a listener of no further step."""
    _before.pop(id(listener), None)


def _keep(listeners: dict[int, weakref.ref[Listener]], listener: Listener) -> None:
    key = id(listener)

    def forget(gone: weakref.ref[Listener]) -> None:
        if listeners.get(key) is gone:
            del listeners[key]

    listeners[key] = weakref.ref(listener, forget)


@cache
def _register() -> None:
    register_optimizer_step_pre_hook(_tell_before)
    register_optimizer_step_post_hook(_tell_after)


def _tell_before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
    """Tell that an optimizer steps; return other arguments of its `step` where a closure is among them."""
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    if closure is None or not _before:
        _tell(optimizer)
        return None
    told = _Told(closure, optimizer)
    if "closure" in kwargs:
        return args, {**kwargs, "closure": told}
    return (args[0], told, *args[2:]), kwargs


class _Told:
    """A closure that tells of the gradients that its first call leaves.

    Args:
        closure: Goes forward and backward.
        optimizer: Calls it.
    """

    def __init__(self, closure: Callable[[], Any], optimizer: torch.optim.Optimizer) -> None:
        self._closure = closure
        self._optimizer = optimizer
        self._is_told = False

    def __call__(self) -> Any:
        """Go forward and backward."""
        loss = self._closure()
        if not self._is_told:
            self._is_told = True
            _tell(self._optimizer)
        return loss

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the closure."""
        return getattr(self.__dict__["_closure"], name)


def _tell(optimizer: torch.optim.Optimizer) -> None:
    for each in list(_before.values()):
        if (listener := each()) is not None:
            listener.before_update(optimizer)


def _tell_after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for each in list(_after.values()):
        if (listener := each()) is not None:
            listener.took(optimizer)
