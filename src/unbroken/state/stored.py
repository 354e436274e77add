"""Tensors that may still lie on the disk: what a restore needs of them without knowing where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch


class Stored(ABC):
    """A saved tensor that is read when it is wanted, straight to where it belongs."""

    __slots__ = ()

    shape: torch.Size
    """Its shape."""
    dtype: torch.dtype
    """Its dtype."""
    device: str | None
    """Where it lay when it was saved, as `cuda:0`; None where all lay on the host, or nothing tells."""

    @abstractmethod
    def read(self) -> torch.Tensor:
        """Return it in fresh host memory."""

    @abstractmethod
    def read_into(self, live: torch.Tensor) -> None:
        """Read it into the storage of a live tensor of the same shape and dtype."""


def is_tensor(value: Any) -> bool:
    """Say whether a value is a tensor, in memory or stored."""
    return isinstance(value, torch.Tensor | Stored)


def holds_tensors(value: Any) -> bool:
    """Say whether a value is a tensor or a numpy array, or a list or tuple with one in it."""
    inside = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(each, torch.Tensor | np.ndarray) for each in inside)


def fill(live: torch.Tensor, saved: torch.Tensor | Stored) -> None:
    """Put a saved tensor's values into the storage of a live one."""
    if isinstance(saved, torch.Tensor):
        live.copy_(saved)
    else:
        saved.read_into(live)


def home(saved: str | None, trained_on: torch.device) -> torch.device:
    """Return where a saved tensor belongs: where it lay, as far as this start has such a device.

    Args:
        saved: Where it lay, as `cuda:0`; None for the host. This start may not know its kind.
        trained_on: The device that this start trains on.
    """
    kind, _, index = (saved or "cpu").partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    if kind != trained_on.type:
        return trained_on
    is_there = not index or int(index) < torch.get_device_module(kind).device_count()
    return torch.device(f"{kind}:{index}" if index else kind) if is_there else trained_on


def in_memory(value: Any) -> Any:
    """Return a stored tensor as a tensor, and anything else as it is."""
    return value.read() if isinstance(value, Stored) else value
