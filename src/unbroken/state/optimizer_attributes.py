"""What an optimiser keeps in attributes of its own and changes while it trains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import torch
from torch import nn

from unbroken.errors import NotEncodable
from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digest
from unbroken.state.generators import generator_digest, is_generator
from unbroken.state.own_ways import (
    attributes_of_every_optimizer,
    inner_optimizers,
    is_of_torch,
    is_optimizer,
)
from unbroken.state.stored import is_tensor

_SET_BY_OTHERS: Final = {"step", "_step_count", "_original_step"}
"""What PyTorch's schedulers and its scaler set at an optimiser."""

MAX_DEPTH: Final = 20


class OptimizerAttributes:
    """Tells which attributes have changed since the run was set up.

    One that has not changed is configuration: what the code builds stands.

    Args:
        optimizer: Whose attributes they are.
        written: Turns a value into what the codec takes.
        names: Leaf paths of parameters by their identity: those are seen as these, whatever they hold.
    """

    def __init__(
        self, optimizer: Any, written: Callable[[Any], Any], names: Mapping[int, str]
    ) -> None:
        self._optimizer = optimizer
        self._written = written
        self._names = names
        self._built = {name: _kept(_as_seen(each, names)) for name, each in self._own().items()}

    def _own(self) -> dict[str, Any]:
        if is_of_torch(self._optimizer):
            return {}
        elsewhere = attributes_of_every_optimizer() | _SET_BY_OTHERS
        inner = {path.partition(".")[0] for path in inner_optimizers(self._optimizer)}
        return {
            name: each
            for name, each in getattr(self._optimizer, "__dict__", {}).items()
            if name not in elsewhere and name not in inner
        }

    def changed(self, elsewhere: Collection[int]) -> dict[str, Any]:
        """Return what has changed and can be saved, as the codec takes it.

        Args:
            elsewhere: Addresses of the tensors that are saved in another place.
        """
        found = {}
        for name, each in self._own().items():
            if name in self._built and _is_same(self._built[name], _as_seen(each, self._names)):
                continue
            form = self._written(each)
            tensors: dict[str, Any] = {}
            try:
                encode(form, name, tensors)
            except NotEncodable:
                continue  # a closure, a handle: nothing that a checkpoint can hold
            if not any(one.data_ptr() in elsewhere for one in tensors.values() if one.numel()):
                found[name] = form
        return found


class _SeenTensor:
    """A tensor as it was; its bytes are looked at only where it may have been written to."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._writes = tensor._version  # noqa: SLF001  # PyTorch's own count of writes
        self._digest: str | None = None

    def keep(self) -> _SeenTensor:
        """Note the bytes as they are now."""
        self._digest = tensor_digest(self._tensor) if self._tensor.layout is torch.strided else ""
        return self

    def __eq__(self, other: object) -> bool:
        """Say whether the tensor that was kept has the content of another."""
        if not isinstance(other, _SeenTensor):
            return NotImplemented
        if self._tensor is other._tensor and self._writes == other._writes:
            return True
        is_like = (self._tensor.shape, self._tensor.dtype) == (
            other._tensor.shape,
            other._tensor.dtype,
        )
        return is_like and self._digest == other.keep()._digest

    __hash__ = None  # type: ignore[assignment]  # what it stands for changes


def _as_seen(value: Any, names: Mapping[int, str], depth: int = 0) -> Any:
    """Return something that compares unequal once the value has changed, in place or otherwise."""
    if isinstance(value, torch.Tensor):
        if id(value) in names:
            return names[id(value)]
        return _SeenTensor(value)
    if isinstance(value, nn.Module | type) or is_optimizer(value) or depth > MAX_DEPTH:
        return None
    if is_generator(value):
        return generator_digest(value)
    if isinstance(value, Mapping):
        return [
            (_as_seen(key, names), _as_seen(each, names, depth + 1)) for key, each in value.items()
        ]
    if isinstance(value, list | tuple):
        return [_as_seen(each, names, depth + 1) for each in value]
    if callable(value):
        return None
    if type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
        return _as_seen(vars(value), names, depth + 1)
    return repr(value)


def _kept(seen: Any) -> Any:
    """Note the bytes of all tensors inside what was seen."""
    if isinstance(seen, _SeenTensor):
        return seen.keep()
    return type(seen)(map(_kept, seen)) if isinstance(seen, list | tuple) else seen


def _is_same(before: Any, now: Any) -> bool:
    if type(before) is not type(now):
        return False
    if isinstance(before, list | tuple):
        return len(before) == len(now) and all(map(_is_same, before, now))
    return bool(before == now)


def addresses(value: Any) -> set[int]:
    """Return where the tensors inside nested containers lie."""
    if isinstance(value, torch.Tensor):
        return {value.data_ptr()} if value.layout is torch.strided and value.numel() else set()
    if is_tensor(value):
        return set()
    inside = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list | tuple | set) and not hasattr(value, "maxlen"):
        return set()
    return set().union(*map(addresses, inside))
