"""The random generators that a loader, a sampler or a data set keeps for itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from unbroken.state.generators import is_generator

DEEPEST: Final = 4
"""How many attributes below an object a generator is looked for."""
MOST: Final = 2000
"""How many objects are looked at."""
LONGEST: Final = 64
"""Longest list or dict that is looked into: the entries of longer ones are data."""
_OTHERS: Final = (type, ModuleType, nn.Module, torch.Tensor, str, bytes)
"""What keeps no generator of a loader's."""


def generators_in(*owners: Any) -> list[Any]:
    """Return the generators that are reachable by attributes, in the order in which they are found."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = deque((each, 0) for each in owners)
    while waiting and len(seen) < MOST:
        value, depth = waiting.popleft()
        if id(value) in seen or isinstance(value, _OTHERS):
            continue
        seen.add(id(value))
        if is_generator(value):
            found.append(value)
        elif depth < DEEPEST:
            waiting.extend((each, depth + 1) for each in _inside(value))
    return found


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list | tuple | set):
        if len(value) <= LONGEST:
            yield from value.values() if isinstance(value, Mapping) else value
    else:
        yield from getattr(value, "__dict__", {}).values()
