"""What a captured state holds, so that it can be asked whether a value is in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch

from unbroken.audit.content import as_tensor, own_numbers, tensor_content
from unbroken.audit.walk import GENERATORS
from unbroken.state.generators import generator_state
from unbroken.tree import leaves

PLAIN: Final = (bool, int, float, complex, str, bytes, Enum)
"""Values that are compared as they are."""

Storage = tuple[str, int]
"""Device and address of a tensor's memory."""


class SavedState:
    """A captured state, by part.

    Args:
        captured: What `TrainingState.capture` returned.
    """

    def __init__(self, captured: Mapping[str, Any]) -> None:
        self._captured = captured
        self._leaves = {part: list(_unpacked(each)) for part, each in captured.items()}
        self._tensors = [
            tensor
            for found in self._leaves.values()
            for _, each in found
            if (tensor := as_tensor(each)) is not None
        ]
        self._storages = {storage for each in self._tensors if (storage := storage_of(each))}
        self._contents: dict[tuple[Any, ...], set[str]] = {}

    def shares_memory(self, tensor: torch.Tensor) -> bool:
        """Say whether a tensor is one of the state's, or a view of it."""
        return storage_of(tensor) in self._storages

    def has_content(self, tensor: torch.Tensor, content: str) -> bool:
        """Say whether a tensor of the state has the same entries; a single number tells nothing."""
        if tensor.numel() <= 1:
            return False
        kind = (tensor.dtype, tuple(tensor.shape))
        if kind not in self._contents:
            alike = (each for each in self._tensors if (each.dtype, tuple(each.shape)) == kind)
            self._contents[kind] = {tensor_content(each) for each in alike}
        return content in self._contents[kind]

    def has_generator(self, state: Any) -> bool:
        """Say whether it holds all the numbers of a generator's state that are its own."""
        own = list(own_numbers(state))
        return bool(own) and all(
            self.has_content(each, tensor_content(each))
            if isinstance(each, torch.Tensor)
            else each in self._integers
            for each in own
        )

    def has_items(self, part: str, items: list[Any]) -> bool:
        """Say whether a part saves a list, a deque or a set with these items, under whatever name."""
        saved = self._lists.get(part, {}).get(len(items), ())
        return any(all(map(_is_alike, each, items)) for each in saved)

    @cached_property
    def _lists(self) -> dict[str, dict[int, list[list[Any]]]]:
        found: dict[str, dict[int, list[list[Any]]]] = {}
        for part, captured in self._captured.items():
            for each in _lists(captured):
                found.setdefault(part, {}).setdefault(len(each), []).append(each)
        return found

    @cached_property
    def _integers(self) -> set[int]:
        return {each for found in self._leaves.values() for _, each in found if type(each) is int}

    def holds(self, part: str, path: str, value: Any) -> bool:
        """Say whether a part saves a value that was reached from its object: plain ones by name.

        Args:
            part: The part's name.
            path: The value's path.
            value: A tensor, an array, a generator or a plain value.
        """
        if isinstance(value, GENERATORS):
            return self.has_generator(generator_state(value))
        tensor = as_tensor(value)
        if tensor is not None and (
            self.shares_memory(tensor) or self.has_content(tensor, tensor_content(tensor))
        ):
            return True
        plain = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
        name = attribute_name(path)
        return any(
            attribute_name(other) == name and each == plain
            for other, each in self.numbers(part).items()
        )

    def numbers(self, part: str) -> dict[str, Any]:
        """Return by path what a part saves that is a number or text; a tensor of one entry counts."""
        found: dict[str, Any] = {}
        for path, each in self._leaves.get(part, ()):
            if (
                isinstance(each, torch.Tensor) and each.numel() == 1 and each.device.type == "cpu"
            ) or isinstance(each, np.generic):
                found[path] = each.item()
            elif isinstance(each, PLAIN):
                found[path] = each
        return found


def attribute_name(path: str) -> str:
    """Return the last attribute in a path, without leading underscores; positions are none."""
    names = [each for each in path.split(".") if not each.isdigit()]
    return names[-1].lstrip("_") if names else ""


def storage_of(tensor: torch.Tensor) -> Storage | None:
    """Return where a tensor's memory is; None where it has none of its own."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    try:
        return str(tensor.device), tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # a wrapper around other tensors
        return None


def items_of(container: Iterable[Any]) -> list[Any]:
    """Return the items of a list, a deque or a set in an order that the same items have again."""
    is_set = isinstance(container, set | frozenset)
    return sorted(container, key=repr) if is_set else list(container)


def _lists(captured: Any) -> Iterator[list[Any]]:
    """Yield the items of every list, deque and set in a state."""
    if isinstance(captured, Mapping):
        for each in captured.values():
            yield from _lists(each)
    elif isinstance(captured, list | tuple | deque | set | frozenset):
        yield items_of(captured)
        for each in captured:
            yield from _lists(each)


def _is_alike(saved: Any, item: Any) -> bool:
    """Say whether an item may be the saved one; what is neither tensor nor plain is looked at itself."""
    if isinstance(saved, torch.Tensor) and isinstance(item, torch.Tensor):
        is_like = (saved.dtype, saved.shape) == (item.dtype, item.shape)
        return saved is item or (is_like and tensor_content(saved) == tensor_content(item))
    if isinstance(saved, PLAIN) and isinstance(item, PLAIN):
        return saved == item
    return True


def _unpacked(captured: Any) -> Iterator[tuple[str, Any]]:
    for path, each in leaves(captured):
        if isinstance(each, set | frozenset | deque):
            yield from leaves(items_of(each), path)
        elif isinstance(each, GENERATORS):
            yield from leaves(generator_state(each), path)
        else:
            yield path, each
