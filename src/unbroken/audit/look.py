"""One look at what is reachable from a run's objects and in no state: what each value is now.

Tensors that share memory with the state, and those that are equal to one of it, are saved. A tensor
that still hangs on a graph is a result of this step, not something that the next begins with.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from unbroken.audit.content import (
    as_tensor,
    common_block,
    tensor_content,
)
from unbroken.audit.saved import SavedState, items_of
from unbroken.audit.walk import GENERATORS, Inside, Reached, inside, walk
from unbroken.state.generators import generator_digest, generator_state
from unbroken.tree import unwrap

MOST_VALUES: Final = 100_000
"""Values that are looked at; what lies beyond them is not seen."""
MOST_INSIDE: Final = 256
"""Entries of a container that are looked at, from its front and as many from its end."""


class Kind(StrEnum):
    """What a value is, as far as it matters for saving it."""

    TENSOR = "tensor"
    BUFFER = "buffer"
    ARRAY = "array"
    GENERATOR = "generator"
    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"
    LENGTH = "entries"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one value was."""

    kind: Kind
    content: Any
    """Equal if it is the same; of a tensor, a digest."""
    shape: tuple[int, ...] = ()
    """Of a tensor or an array."""
    has_grown: bool = False
    """Whether it has another shape than at the look before, and begins with what it was then."""
    is_saved: bool = False
    """Whether the state holds it."""


@dataclass(slots=True)
class Look:
    """What was seen at one moment."""

    sights: dict[str, Sight] = field(default_factory=dict)
    """By path."""
    reached: dict[str, Reached] = field(default_factory=dict)
    """How; forgotten once the next look was compared, for it keeps the values alive."""
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Numbers that each part saves, by path."""
    is_cut: bool = False
    """Whether there was more than was looked at."""
    clocks: tuple[float, ...] = ()


def look(
    roots: Mapping[str, Any],
    saved: SavedState,
    before: Look | None = None,
    known: Iterable[Any] = (),
) -> Look:
    """Look at all that is reached from a run's objects.

    Args:
        roots: The declared objects, by part name.
        saved: Their state.
        before: The look before.
        known: Objects that are saved as a whole, and not looked at.
    """
    found = Look(clocks=(time.time(), time.monotonic(), time.perf_counter()))
    declared = {id(each) for each in roots.values()}
    apart = [*_without_leaves(roots.values()), *known]
    reached = walk(roots, seen=apart, most_inside=MOST_INSIDE, inside=_not_inside_wrappers(roots))
    for each in islice(reached, MOST_VALUES):
        if id(each.value) in declared or _is_known(each):
            continue
        then = before.sights.get(each.path) if before else None
        sight = _sight(each, saved, then)
        if sight is not None:
            found.sights[each.path] = sight
            found.reached[each.path] = each
    found.is_cut = next(reached, None) is not None
    found.numbers = {part: saved.numbers(part) for part in roots}
    return found


def _not_inside_wrappers(roots: Mapping[str, Any]) -> Inside:
    """Return what looks inside values, but not inside another optimizer's wrapper: it is that one."""
    optimizers = [each for each in roots.values() if isinstance(each, torch.optim.Optimizer)]
    own = {id(each.param_groups): each for each in optimizers}

    def inside_of(value: Any, most: int | None) -> Iterable[tuple[object, Any]]:
        if isinstance(value, torch.optim.Optimizer):
            wrapped = own.get(id(value.param_groups), value)
            return () if wrapped is not value else inside(value, most)
        return inside(value, most)

    return inside_of


def _without_leaves(values: Iterable[Any]) -> list[Any]:
    return [unwrap(each) if isinstance(each, nn.Module) else each for each in values]


def _is_known(reached: Reached) -> bool:
    """Say whether the state has it in any case: the modes of modules, a declared optimizer's own."""
    above = reached.above
    if above is None:
        return False
    if isinstance(above.value, nn.Module):
        return reached.key == "training"
    return False


def _sight(reached: Reached, saved: SavedState, then: Sight | None) -> Sight | None:
    """Return what a value is now; None for one that is saved, or can't be lost."""
    value = reached.value
    if isinstance(value, torch.Tensor):
        return _sight_of_tensor(reached, value, saved, then)
    if isinstance(value, np.ndarray):
        array = as_tensor(value)
        return None if array is None else _compared(Kind.ARRAY, array, value.shape, saved, then)
    if isinstance(value, GENERATORS):
        if saved.has_generator(generator_state(value)):
            return None
        return Sight(Kind.GENERATOR, generator_digest(value))
    if isinstance(value, bool):
        return Sight(Kind.FLAG, value)
    if isinstance(value, int | float | complex | np.generic):
        return Sight(Kind.NUMBER, value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, Enum | str | bytes):
        return Sight(Kind.TEXT, value)
    # Not of a dict: one that gets new keys while the old ones keep their values is a table.
    if not isinstance(value, list | deque | set):
        return None
    if saved.has_items(reached.path.partition(".")[0], items_of(value)):
        return None
    return Sight(Kind.LENGTH, len(value))


def _sight_of_tensor(
    reached: Reached, tensor: torch.Tensor, saved: SavedState, then: Sight | None
) -> Sight | None:
    if tensor.requires_grad and not tensor.is_leaf:
        return None
    plain = as_tensor(tensor)
    if plain is None or saved.shares_memory(plain):
        return None
    if plain.numel() == 1 and not _is_buffer(reached):
        return Sight(Kind.NUMBER, plain.item())
    kind = Kind.BUFFER if _is_buffer(reached) else Kind.TENSOR
    return _compared(kind, plain, tuple(tensor.shape), saved, then)


def _is_buffer(reached: Reached) -> bool:
    above = reached.above
    if above is None or not isinstance(above.value, nn.Module):
        return False
    return reached.key in vars(unwrap(above.value)).get("_buffers", {})


def _compared(
    kind: Kind,
    tensor: torch.Tensor,
    shape: tuple[int, ...],
    saved: SavedState,
    then: Sight | None,
) -> Sight:
    content = tensor_content(tensor)
    has_grown = False
    if then is not None and then.shape != shape:
        block = common_block(tensor, then.shape)
        has_grown = (
            block is not None
            and tuple(block.shape) == then.shape
            and tensor_content(block) == then.content
        )
    return Sight(
        kind, content, shape, has_grown=has_grown, is_saved=saved.has_content(tensor, content)
    )
