"""A module's own way of loading, tried on a copy: what does it bring back?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digest
from unbroken.state.module_ways import has_own_way, is_patched


def rehearsed(
    module: nn.Module, load: Callable[[nn.Module, Any], None], captured: Any
) -> nn.Module | None:
    """Return an emptied copy of a module after a state was loaded into it.

    Args:
        module: Left as it is.
        load: Puts a state into a copy.
        captured: The state.

    Returns:
        None where the module has no way of its own, or no copy of it can be made.

    Raises:
        StateMismatch: Its own `load_state_dict()` failed.
    """
    if not has_own_way(module) or is_patched(module):
        return None
    try:
        twin = copy.deepcopy(module)
        _empty(twin)
    except Exception:  # noqa: BLE001  # whatever forbids a copy: nothing can be shown then
        return None
    load(twin, captured)
    return twin


@torch.no_grad()
def _empty(module: nn.Module) -> None:
    for each in (*module.parameters(), *module.buffers()):
        each.data.zero_()


def names_that_differ(before: Any, after: Any, path: str) -> list[str]:
    """Return the leaves of two captured states that are not the same bits, by path."""
    first: dict[str, torch.Tensor] = {}
    second: dict[str, torch.Tensor] = {}
    forms = [encode(each, path, found) for each, found in ((before, first), (after, second))]
    found = [
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or not is_same(first[name], second[name])
    ]
    return sorted(found) or ([path] if repr(forms[0]) != repr(forms[1]) else [])


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Say whether two tensors have one shape, one dtype and the same bytes."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and tensor_digest(one) == tensor_digest(other)
