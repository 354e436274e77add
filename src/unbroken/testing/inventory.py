"""What is alive in a training: every value that can be reached, by the path it is reached on.

Two trainings that were built by the same code have the same paths, so their inventories can be
compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from unbroken.audit.declared import declared_objects
from unbroken.audit.saved import SavedState
from unbroken.audit.unsaved import described
from unbroken.audit.walk import GENERATORS, Reached, inside, walk
from unbroken.run.run import Run
from unbroken.state.digest import tensor_digest
from unbroken.state.generators import generator_digest
from unbroken.state.parts import PlainPart, Stateful

_FEW = 4
"""Numbers of a tensor that are shown instead of a digest."""


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """One value that was reached."""

    kind: str
    """Its type, with dtype and shape of a tensor or an array."""
    content: str
    """A digest, or the value itself; equal if and only if the bits are."""
    owner: str
    """Path of the outermost object above it that can be saved; empty where there is none."""
    part: str
    """Name of the part that this object was declared as; empty where it was not."""
    line: str = ""
    """What saves a value that its part leaves out; empty where the part has it, or there is none."""


class Inventory:
    """Walks over what is alive, each object once, under the first path it is reached on.

    Args:
        alive: By name; `locals()` of a training function.
        run: The run of the training, of which the parts are known even where it is not among them.
    """

    def __init__(self, alive: Mapping[str, Any], run: Run | None = None) -> None:
        runs = [each for each in (*alive.values(), run) if isinstance(each, Run)]
        self._declared = {name: each for one in runs for name, each in _objects(one).items()}
        self._saved = SavedState({n: e for one in runs for n, e in one.state.capture().items()})
        names = {id(each): name for name, each in self._declared.items()}
        self.items = {
            each.path: self._item(each, names)
            for each in walk(alive, inside=_inside)
            if each.is_leaf
        }

    def _item(self, reached: Reached, names: Mapping[int, str]) -> InventoryItem:
        above = [reached, *reached.holders()]
        owner = next((each.path for each in reversed(above) if _can_be_saved(each.value)), "")
        part = next(
            (names[id(each.value)] for each in reversed(above) if id(each.value) in names), ""
        )
        line = ""
        if part and not self._is_saved(part, reached):
            line = described([reached], self._declared)[0].line
        return InventoryItem(*_shown(reached.value), owner, part, line)

    def _is_saved(self, part: str, reached: Reached) -> bool:
        above = reached.above.value if reached.above else None
        is_mode = isinstance(above, nn.Module) and reached.key == "training"
        return is_mode or self._saved.holds(part, reached.path, reached.value)


def _objects(run: Run) -> dict[str, Any]:
    return declared_objects(run.state.parts)


def _inside(value: Any, most: int | None) -> Iterable[tuple[object, Any]]:
    return _objects(value).items() if isinstance(value, Run) else inside(value, most)


def _can_be_saved(value: Any) -> bool:
    return isinstance(value, Stateful) and not isinstance(value, Run | PlainPart)


def _shown(value: Any) -> tuple[str, str]:
    """Return kind and content of a value that has nothing inside."""
    if isinstance(value, torch.Tensor):
        few = value.numel() <= _FEW
        content = repr(value.tolist()) if few else tensor_digest(value)
        return f"{value.dtype} {list(value.shape)}", content
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        content = repr(array.tolist()) if array.dtype.hasobject else array.tobytes().hex()
        return f"{array.dtype} {list(array.shape)}", content
    if isinstance(value, GENERATORS):
        return "generator", generator_digest(value)
    return type(value).__name__, repr(value)
