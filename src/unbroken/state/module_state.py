"""The form in which a module's state is captured, and the questions that are asked of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from unbroken.state.module_shape import form_of, is_of_one_form
from unbroken.state.stored import in_memory

TENSORS = ""
"""Key of a module's tensors: an empty key adds nothing to a path, so a leaf is `part.name`."""

EXTRA = "_extra_state"
"""PyTorch's name for what `get_extra_state` returned."""

BORN, VERSIONS = "born", "metadata"
"""Keys that are there only where a module has something to say under them."""


class Form(NamedTuple):
    """What a tensor is, without its content."""

    dtype: torch.dtype
    shape: torch.Size


def is_modules(saved: Any) -> bool:
    """Say whether a saved state has the form of a module's."""
    needed = {TENSORS, "aliases", "extra", "training", "requires_grad"}
    return isinstance(saved, dict) and needed <= set(saved) <= needed | {BORN, VERSIONS}


def values_of(state: Any) -> Any:
    """Return a state without what only tells how the module came to it."""
    return {key: each for key, each in state.items() if key not in (BORN, VERSIONS)}


def storage_of(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's memory, or what stands for it where it has no single one."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return id(tensor)
    return tensor.untyped_storage().data_ptr()


def size_of(form: str) -> list[int]:
    """Return the shape in what `form_of` returned."""
    return list(json.loads(form.partition(" ")[2]))


def is_leaf(name: str, value: Any) -> bool:
    """Say whether an entry of a module's own state is a tensor of it, and not extra state."""
    return isinstance(value, torch.Tensor) and name.rpartition(".")[2] != EXTRA


def identity_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return what two names of one tensor have in common, and two tensors don't."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return (id(tensor),)
    return (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, str(tensor.device))


def tensors_of(own: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a module's own state by name."""
    return {name: each for name, each in own.items() if is_leaf(name, each)}


def all_tensors(state: Any) -> dict[str, Any]:
    """Return a state's tensors under all their names."""
    tensors = state[TENSORS]
    return {**tensors, **{name: tensors[first] for name, first in state["aliases"].items()}}


def of_other_forms(saved: Mapping[str, Any], live: Mapping[str, Any]) -> set[str]:
    """Return the names that only one has, or whose forms differ."""
    return {
        name
        for name in saved.keys() | live.keys()
        if name not in saved or name not in live or not is_of_one_form(saved[name], live[name])
    }


def shown_form(tensor: Any) -> str:
    """Say what a tensor is; None stands for one that is gone."""
    return "gone" if tensor is None else f"is {form_of(tensor)}"


def copied(value: Any) -> Any:
    """Return a tensor that the module may keep: what was saved is still to be compared."""
    return value.clone() if isinstance(value, torch.Tensor) else in_memory(value)


def unexpanded(tensor: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """Return the first of each run of entries that share memory: an expanded tensor can't be copied to."""
    strides = (tensor if like is None else like).stride()
    for dim, stride in enumerate(strides):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor
