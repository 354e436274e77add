"""What can be reached from some objects: every value, by the path it is reached on.

Objects that were built by the same code have the same paths, so what is reached in one process, or
at one step, can be compared with another. What a program says of itself (paths, loggers, progress
bars, times) is no state, and neither is what PyTorch keeps for its own bookkeeping.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from unbroken.loop.schedule import Schedule
from unbroken.state.generators import KINDS
from unbroken.state.own_ways import attributes_of_every_optimizer
from unbroken.tree import join, unwrap

GENERATORS: Final = tuple(KINDS)
"""Kinds of generators of random numbers."""

CONTAINERS: Final = (Mapping, list, tuple, deque, set, frozenset)
"""What holds values without being an object of its own."""

_PLAIN: Final = (bool, int, float, complex, str, bytes, Enum, type(None))
_LEAVES: Final = (torch.Tensor, np.ndarray, np.generic, *GENERATORS, *_PLAIN)
_DEEPEST: Final = 20
_NO_STATE: Final = frozenset(sys.stdlib_module_names) | {
    "lightning",
    "lightning_fabric",
    "pytorch_lightning",
    "rich",
    "tensorboard",
    "tqdm",
    "unbroken",
    "wandb",
}
"""Top packages whose objects hold nothing that decides a step, or are saved by an adapter of ours."""
_STATE: Final = Schedule | SimpleNamespace | torch.optim.lr_scheduler.LRScheduler
"""Objects that are state although they come from such a package."""
_CODE: Final = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
_CODE_OF_TORCH: Final = ("torch._", "torch.autograd", "torch.fx", "torch.jit")
_OF_MODULES: Final = frozenset(vars(nn.Module()))


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """A value, and how it was reached."""

    path: str
    value: Any
    key: object = ""
    """Its name in what holds it, or its number there."""
    above: Reached | None = None
    """What holds it; None at a root."""
    depth: int = 0

    @property
    def is_leaf(self) -> bool:
        """Whether there is nothing inside: a tensor, an array, a generator or a plain value."""
        return isinstance(self.value, _LEAVES)

    def holders(self) -> Iterator[Reached]:
        """Yield what holds it, from the nearest to the root."""
        above = self.above
        while above is not None:
            yield above
            above = above.above

    @property
    def expression(self) -> str:
        """The path as a program writes it: numbers and other keys in brackets."""
        if self.above is None:
            return str(self.key)
        before, key = self.above.expression, self.key
        is_name = isinstance(key, str) and key.isidentifier()
        if is_name and not isinstance(self.above.value, Mapping):
            return f"{before}.{key}"
        is_number = isinstance(self.above.value, nn.Module) and str(key).isdigit()
        return f"{before}[{key}]" if is_number else f"{before}[{key!r}]"


Inside = Callable[[Any, int | None], Iterable[tuple[object, Any]]]
"""What is inside a value, by key."""


def inside(value: Any, most: int | None = None) -> Iterator[tuple[object, Any]]:
    """Yield what is inside a value, by key."""
    if isinstance(value, Mapping):
        yield from _ends(list(value.items()), most)
    elif isinstance(value, list | tuple | deque):
        yield from _ends(list(enumerate(value)), most)
    elif isinstance(value, set | frozenset):
        yield from _ends(list(enumerate(sorted(value, key=repr))), most)
    elif isinstance(value, nn.Module):
        yield from _inside_module(unwrap(value))
    elif isinstance(value, torch.optim.Optimizer):
        yield from _inside_optimizer(value)
    elif is_state(value):
        yield from _attributes(value)


def walk(
    roots: Mapping[str, Any],
    *,
    seen: Iterable[Any] = (),
    most_inside: int | None = None,
    inside: Inside = inside,
) -> Iterator[Reached]:
    """Yield all that is reached, depth first, each object once, under its first path.

    Args:
        roots: Where to begin, by name.
        seen: Objects that are not to be entered again from another one.
        most_inside: Entries of each container that are looked at, from its front and its end; None
            for all.
        inside: Says what is inside a value, and how much of it to look at.
    """
    apart = {id(each): each for each in seen}
    entered: dict[int, Any] = {}  # holds on to them: an id is one object's while it lives
    for name, root in roots.items():
        apart.pop(id(root), None)
        waiting = [iter([Reached(name, root, name)])]
        while waiting:
            here = next(waiting[-1], None)
            if here is None:
                waiting.pop()
                continue
            if not here.is_leaf:
                identity = id(here.value)
                if identity in entered or identity in apart or here.depth > _DEEPEST:
                    continue
                entered[identity] = here.value
                waiting.append(_below(here, inside(here.value, most_inside)))
            yield here


def _below(here: Reached, entries: Iterable[tuple[object, Any]]) -> Iterator[Reached]:
    for key, value in entries:
        if not isinstance(value, _CODE):
            yield Reached(join(here.path, key), value, key, here, here.depth + 1)


def _ends(entries: list[tuple[object, Any]], most: int | None) -> list[tuple[object, Any]]:
    if most is None or len(entries) <= 2 * most:
        return entries
    return entries[:most] + entries[-most:]


def _inside_module(module: nn.Module) -> Iterator[tuple[object, Any]]:
    own = vars(module)
    for kind in ("_parameters", "_buffers", "_modules"):
        yield from own.get(kind, {}).items()
    derived = _derived(own)
    yield "training", module.training
    for name, each in own.items():
        if name not in _OF_MODULES and name not in derived and not _is_hooks(name, each):
            yield name, each


def _is_hooks(name: str, value: Any) -> bool:
    return name.startswith("_") and name.endswith("_hooks") and isinstance(value, dict)


def _derived(own: Mapping[str, Any]) -> set[str]:
    """Return the attributes that a hook of PyTorch makes anew at each forward pass: pruned weights."""
    hooks = own.get("_forward_pre_hooks", {}).values()
    named = [
        getattr(each, name, None)
        for each in hooks
        if type(each).__module__.startswith("torch.")
        for name in ("name", "_tensor_name")
    ]
    return {each for each in named if isinstance(each, str)}


def _inside_optimizer(optimizer: torch.optim.Optimizer) -> Iterator[tuple[object, Any]]:
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for i, parameter in enumerate(parameters):
        yield f"state.{i}", optimizer.state.get(parameter, {})
    for i, group in enumerate(optimizer.param_groups):
        yield f"groups.{i}", {key: each for key, each in group.items() if key != "params"}
    for name, each in _attributes(optimizer):
        if name not in attributes_of_every_optimizer() and not _is_hooks(name, each):
            yield name, each


def is_state(value: Any) -> bool:
    """Say whether an object may hold what decides a step."""
    if isinstance(value, _STATE):
        return True
    module = type(value).__module__
    package = module.partition(".")[0]
    is_code = module.startswith(_CODE_OF_TORCH) or (package == "torch" and callable(value))
    return package not in _NO_STATE and not is_code


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name != "__weakref__" and hasattr(value, name):
                yield name, getattr(value, name)
