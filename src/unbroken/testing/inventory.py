"""What is alive in a training: every value that can be reached, by the path it is reached on.

Two trainings that were built by the same code have the same paths, so their inventories can be
compared. What a program says of itself (paths, loggers, progress bars, times) is no state.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from unbroken.loop.schedule import Schedule
from unbroken.run.run import Run
from unbroken.state.digest import tensor_digest
from unbroken.state.parts import PlainPart, Stateful
from unbroken.tree import join, unwrap

_OF_MODULES = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
_DEEPEST = 20
_FEW = 4
"""Numbers of a tensor that are shown instead of a digest."""
_NO_STATE = frozenset(sys.stdlib_module_names) | {
    "rich",
    "tensorboard",
    "tqdm",
    "unbroken",
    "wandb",
}
"""Top packages whose objects hold nothing that decides a step."""
_STATE = Schedule | SimpleNamespace | torch.optim.lr_scheduler.LRScheduler
"""Objects that are state although they come from such a package."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


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


class Inventory:
    """Walks over what is alive, each object once, under the first path it is reached on.

    Args:
        alive: By name; `locals()` of a training function.
        run: The run of the training, of which the parts are known even where it is not among them.
    """

    def __init__(self, alive: Mapping[str, Any], run: Run | None = None) -> None:
        self.items: dict[str, InventoryItem] = {}
        self._seen: dict[int, Any] = {}  # holds on to them: an id is one object's while it lives
        self._declared = _declared([*alive.values(), run])
        for name, each in alive.items():
            self._walk(name, each, "", "")

    def _walk(self, path: str, value: Any, owner: str, part: str, depth: int = 0) -> None:
        found = _leaf(value)
        if found is not None:
            self.items[path] = InventoryItem(*found, owner, part)
            return
        if id(value) in self._seen or depth > _DEEPEST:
            return
        self._seen[id(value)] = value
        if not owner and _can_be_saved(value):
            owner = path
        part = part or self._declared.get(id(value), "")
        for key, each in _inside(value):
            self._walk(join(path, key), each, owner, part, depth + 1)


def _declared(alive: list[Any]) -> dict[int, str]:
    """Return the names of all parts of the runs among what is alive, by the object's identity."""
    runs = [each for each in alive if isinstance(each, Run)]
    return {id(each): name for run in runs for name, each in _parts(run)}


def _parts(run: Run) -> Iterator[tuple[str, Any]]:
    for name, part in run.state.parts.items():
        for attribute in ("module", "optimizer", "target"):
            if hasattr(part, attribute):
                yield name, getattr(part, attribute)


def _can_be_saved(value: Any) -> bool:
    return isinstance(value, Stateful) and not isinstance(value, Run | PlainPart)


def _leaf(value: Any) -> tuple[str, str] | None:
    """Return kind and content of a value that has nothing inside; None for any other."""
    if isinstance(value, torch.Tensor):
        few = value.numel() <= _FEW
        content = repr(value.tolist()) if few else tensor_digest(value)
        return f"{value.dtype} {list(value.shape)}", content
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        content = repr(array.tolist()) if array.dtype.hasobject else array.tobytes().hex()
        return f"{array.dtype} {list(array.shape)}", content
    if isinstance(value, torch.Generator):
        return "generator", tensor_digest(value.get_state())
    if isinstance(value, np.random.Generator):
        return "generator", repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return "generator", repr([_content(each) for each in value.get_state(legacy=True)])
    if isinstance(value, random.Random):
        return "generator", repr(value.getstate())
    if isinstance(value, _PLAIN):
        return type(value).__name__, repr(value)
    return None


def _content(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _inside(value: Any) -> Iterator[tuple[object, Any]]:
    """Yield what is inside a value, by key."""
    if isinstance(value, Run):
        yield from _parts(value)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple | deque):
        yield from enumerate(value)
    elif isinstance(value, set | frozenset):
        yield from enumerate(sorted(value, key=repr))
    elif isinstance(value, nn.Module):
        yield from _inside_module(unwrap(value))
    elif isinstance(value, torch.optim.Optimizer):
        yield from _inside_optimizer(value)
    elif _is_state(value):
        yield from _attributes(value)


def _inside_module(module: nn.Module) -> Iterator[tuple[object, Any]]:
    for kind in ("_parameters", "_buffers", "_modules"):
        yield from vars(module)[kind].items()
    for name, each in vars(module).items():
        is_hooks = name.startswith("_") and isinstance(each, dict)
        if name not in _OF_MODULES and not is_hooks:
            yield name, each


def _inside_optimizer(optimizer: torch.optim.Optimizer) -> Iterator[tuple[object, Any]]:
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for i, parameter in enumerate(parameters):
        yield f"state.{i}", optimizer.state.get(parameter, {})
    for i, group in enumerate(optimizer.param_groups):
        yield f"groups.{i}", {key: each for key, each in group.items() if key != "params"}


def _is_state(value: Any) -> bool:
    if isinstance(value, _STATE):
        return True
    if isinstance(value, type) or callable(value):
        return False
    return type(value).__module__.partition(".")[0] not in _NO_STATE


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name != "__weakref__" and hasattr(value, name):
                yield name, getattr(value, name)
