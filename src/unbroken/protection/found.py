"""What a training is made of, found in the variables of the code that trains."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from unbroken.audit.walk import inside, walk
from unbroken.protection import refusals
from unbroken.run.run import Run
from unbroken.state.generators import is_generator
from unbroken.state.parts import Stateful

_DATA: Final = (DataLoader, Dataset, Sampler)
"""What belongs to a loader, and is not looked into."""
_FUNCTIONS: Final = (FunctionType, MethodType, partial)
_MOST_INSIDE: Final = 64
"""Entries of each container that are looked at, from its front and its end."""
_ADAPTERS: Final = {
    ("accelerate", "Accelerator"): "accelerate",
    ("transformers", "Trainer"): "transformers",
    ("lightning", "Trainer"): "lightning",
    ("pytorch_lightning", "Trainer"): "lightning",
    ("lightning_fabric", "Fabric"): "lightning",
}
"""Objects of frameworks, by top package and class, and the adapter for each."""
_TAKEN: Final = frozenset(inspect.signature(Run).parameters) - {"scheduler"}
"""Names that are arguments of `Run`."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object that was found."""

    expression: str
    """As the program writes it."""
    value: Any
    name: str = ""
    """Of the part that it becomes; empty where it becomes none."""


@dataclass(slots=True)
class FoundObjects:
    """What was found, by what it is."""

    models: list[Found] = field(default_factory=list)
    """Modules of which an optimizer has parameters."""
    optimizers: list[Found] = field(default_factory=list)
    scalers: list[Found] = field(default_factory=list)
    parts: list[Found] = field(default_factory=list)
    """All else that can be saved: schedules, averages, generators, objects of the program's own."""
    loaders: list[Found] = field(default_factory=list)

    def saved(self) -> Iterator[Found]:
        """Yield what becomes a part."""
        yield from (*self.models, *self.optimizers, *self.scalers, *self.parts)


def find(variables: Mapping[str, Any]) -> FoundObjects:
    """Look through variables, and what they hold.

    Raises:
        SettingsInvalid: A framework's own trainer is among them.
    """
    found = FoundObjects()
    modules: list[Found] = []
    roots = dict(_without_code(variables.items()))
    for each in walk(roots, most_inside=_MOST_INSIDE, inside=_inside):
        value, here = each.value, Found(each.expression, each.value)
        _require_no_framework(here)
        if isinstance(value, DataLoader):
            found.loaders.append(here)
        elif isinstance(value, (*_DATA, type)):
            continue
        elif isinstance(value, nn.Module):
            modules.append(here)
        elif isinstance(value, torch.optim.Optimizer) or _is_like_optimizer(value):
            found.optimizers.append(here)
        elif isinstance(value, torch.amp.GradScaler):
            found.scalers.append(here)
        elif _is_whole(value):
            found.parts.append(here)
    _sort_modules(modules, found)
    return _with_names(found)


def _inside(value: Any, most: int | None) -> Iterable[tuple[object, Any]]:
    if isinstance(value, _DATA) or _is_whole(value):
        return ()
    return _without_code(inside(value, most))


def _without_code(entries: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Yield entries; in place of a function what it holds: a callback may step a schedule."""
    for key, value in entries:
        if isinstance(value, type | ModuleType):
            continue
        yield key, (_held_by(value) if isinstance(value, _FUNCTIONS) else value)


def _held_by(function: Any) -> dict[str, Any]:
    if isinstance(function, partial):
        given = dict(enumerate(function.args)) | function.keywords
        return {**{str(key): each for key, each in given.items()}, **_held_by(function.func)}
    if isinstance(function, MethodType):
        return {"__self__": function.__self__}
    cells = zip(
        getattr(getattr(function, "__code__", None), "co_freevars", ()),
        getattr(function, "__closure__", None) or (),
        strict=False,
    )
    return {name: _content(cell) for name, cell in cells}


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


def _is_whole(value: Any) -> bool:
    """Say whether an object is saved as a whole."""
    if isinstance(value, nn.Module | torch.optim.Optimizer) or is_generator(value):
        return True
    is_plain = isinstance(value, Mapping | list | tuple | set | torch.Tensor)
    return not is_plain and isinstance(value, Stateful)


def _is_like_optimizer(value: Any) -> bool:
    return _is_whole(value) and all(hasattr(value, each) for each in ("param_groups", "step"))


def _sort_modules(modules: list[Found], found: FoundObjects) -> None:
    """Tell models from other modules, and leave out those inside of another, and those without state."""
    tensors = {id(each.value): _tensors(each.value) for each in modules}
    trained = {
        id(p)
        for each in found.optimizers
        for group in each.value.param_groups
        for p in group["params"]
    }
    kept: list[Found] = []
    for each in sorted(modules, key=lambda one: -len(tensors[id(one.value)])):
        mine = tensors[id(each.value)]
        if (mine or _has_state(each.value)) and not any(
            mine <= tensors[id(other.value)] for other in kept
        ):
            kept.append(each)
    for each in modules:
        if each in kept:
            is_trained = bool(tensors[id(each.value)] & trained)
            (found.models if is_trained else found.parts).append(each)


def _tensors(module: nn.Module) -> set[int]:
    return {id(each) for each in (*module.parameters(), *module.buffers())}


def _has_state(module: nn.Module) -> bool:
    return bool(module.state_dict())


def _with_names(found: FoundObjects) -> FoundObjects:
    """Give each part a name that the others, and the arguments of `Run`, don't have."""
    taken: set[str] = set()
    found.models = _as_role(found.models, "model", taken)
    found.optimizers = _as_role(found.optimizers, "optimizer", taken)
    found.scalers = _as_role(found.scalers, "scaler", taken)
    found.parts = [_named(each, taken) for each in found.parts]
    return found


def _as_role(found: list[Found], role: str, taken: set[str]) -> list[Found]:
    if len(found) != 1:
        return [_named(each, taken) for each in found]
    taken.add(role)
    return [Found(found[0].expression, found[0].value, role)]


def _named(found: Found, taken: set[str]) -> Found:
    whole = "".join(
        c if c.isascii() and (c.isalnum() or c == "_") else " " for c in found.expression
    )
    words = whole.split()
    last = words[-1] if words else "part"
    choices = [
        last,
        "_".join(words),
        *(f"{'_'.join(words) or 'part'}_{n}" for n in range(2, 10**6)),
    ]
    name = next(c for c in choices if c.isidentifier() and c not in taken and c not in _TAKEN)
    taken.add(name)
    return Found(found.expression, found.value, name)


def _require_no_framework(found: Found) -> None:
    for kind in type(found.value).__mro__:
        adapter = _ADAPTERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if adapter is not None:
            raise refusals.belongs_to_framework(found.expression, adapter)
