"""Tensors that an optimiser keeps in more than one place, and moves in all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.tree import leaves

Places = list[list[str]]
"""Leaf path of a parameter, and the name of what is kept for it."""


def shared_places(state: Mapping[str, Any]) -> list[Places]:
    """Return the places of each tensor that stands in several.

    Args:
        state: What an optimiser keeps for each parameter, by leaf path.
    """
    found: dict[int, Places] = {}
    for name, kept in state.items():
        if type(kept) is dict:
            for key, each in kept.items():
                if isinstance(each, torch.Tensor):
                    found.setdefault(id(each), []).append([name, key])
    return [places for places in found.values() if len(places) > 1]


def share_again(
    groups: list[Places], state: Mapping[Any, Any], parameters: Mapping[str, Any]
) -> None:
    """Put one tensor into all places that had the same one.

    Args:
        groups: What `shared_places` returned.
        state: The optimiser's, restored.
        parameters: By leaf path.
    """
    for (name, key), *others in groups:
        one = state[parameters[name]][key]
        for other, its_key in others:
            state[parameters[other]][its_key] = one


def overlapping(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return pairs of paths whose tensors are others of the same memory: views of one buffer.

    A start would restore each to memory of its own.
    """
    first: dict[tuple[str, int], tuple[str, torch.Tensor]] = {}
    found = []
    for path, each in leaves(state):
        if (
            not isinstance(each, torch.Tensor)
            or each.layout is not torch.strided
            or not each.numel()
        ):
            continue
        storage = (str(each.device), each.untyped_storage().data_ptr())
        known = first.setdefault(storage, (path, each))
        if known[1] is not each:
            found.append((known[0], path))
    return found
