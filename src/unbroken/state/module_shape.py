"""What tensors a module has, and what a freshly built one can be made to hold.

Some of a module's tensors come, grow or go while it trains: a queue, a buffer that is None at first,
the shapes of lazy modules, what `torch.nn.utils.prune` makes of a weight. Such a change is state. A
module that was built anew does not have it yet, and takes it on before the values are put in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune

from unbroken.state.dtypes import short_dtype
from unbroken.state.module_ways import is_own
from unbroken.tree import uncompiled

_ORIGINAL = "_orig"
"""What `torch.nn.utils.prune` adds to the name of a weight; beside it is the mask, a buffer."""


def form_of(tensor: Any) -> str:
    """Return dtype and shape of a tensor, in memory or stored, as the checks show a leaf."""
    return f"{short_dtype(tensor.dtype)} {list(tensor.shape)}"


def is_of_one_form(one: Any, other: Any) -> bool:
    """Say whether two tensors, in memory or stored, have one dtype and one shape."""
    return bool(one.dtype == other.dtype and one.shape == other.shape)


def owners(module: nn.Module) -> dict[str, nn.Module]:
    """Return every submodule by its path; what is compiled stands for its wrapper."""
    every = module.named_modules(remove_duplicate=False)
    return {uncompiled(path): each for path, each in every}  # the wrapper comes first


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """Which modules and tensors a module had at one instant, by path."""

    modules: frozenset[str]
    own: frozenset[str]
    """Those that save or load in a way of their own."""
    parameters: Mapping[str, torch.dtype | None]
    """With their dtypes; None where a lazy module has yet to make it."""
    buffers: Mapping[str, torch.dtype | None]
    """Those that are saved; None where there is none yet."""

    @classmethod
    def of(cls, module: nn.Module) -> ModuleShape:
        """Return a module's shape as it is now."""
        every = owners(module)
        parameters: dict[str, torch.dtype | None] = {}
        buffers: dict[str, torch.dtype | None] = {}
        for path, each in every.items():
            for name, parameter in _held(each, "_parameters").items():
                if parameter is not None:
                    parameters[_below(path, name)] = _dtype(parameter)
            fleeting = getattr(each, "_non_persistent_buffers_set", ())
            for name, buffer in _held(each, "_buffers").items():
                if name not in fleeting:
                    buffers[_below(path, name)] = _dtype(buffer)
        own = frozenset(path for path, each in every.items() if is_own(each))
        return cls(frozenset(every), own, parameters, buffers)

    def can_take(self, name: str, saved: Mapping[str, Any], parameters: Collection[str]) -> bool:
        """Say whether a module of this shape can be made to hold a tensor as it was saved.

        Args:
            name: The tensor, which it has in another shape, or doesn't have, or which wasn't saved.
            saved: All tensors that were saved.
            parameters: Those of them that are parameters.
        """
        owner = name.rpartition(".")[0]
        if owner not in self.modules:
            return False
        if owner in self.own:
            return True
        if name not in saved:
            return (
                name in self.buffers or name + _ORIGINAL in saved or self._was_pruned(name, saved)
            )
        here = self.parameters if name in self.parameters else self.buffers
        if name in here:
            return here[name] in (None, saved[name].dtype)
        pruned = name.removesuffix(_ORIGINAL) if name.endswith(_ORIGINAL) else name + _ORIGINAL
        return name not in parameters or pruned in self.parameters

    def _was_pruned(self, name: str, saved: Mapping[str, Any]) -> bool:
        return name.endswith(_ORIGINAL) and name.removesuffix(_ORIGINAL) in saved


def take_shape(
    module: nn.Module,
    saved: Mapping[str, Any],
    changed: AbstractSet[str],
    parameters: Collection[str],
) -> None:
    """Make a module hold tensors of the saved names and shapes; their values come later.

    Modules with a way of their own are left to it. Parameters stay the objects that an optimiser holds.

    Args:
        module: As it was built; `ModuleShape.can_take` holds for all that differs.
        saved: The tensors that were saved, by path.
        changed: Names of those that the module has otherwise, or not, or that weren't saved.
        parameters: Names of those saved ones that are parameters.
    """
    if not changed:
        return
    every = {path: each for path, each in owners(module).items() if not is_own(each)}
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    held = ModuleShape.of(module).parameters
    # Parameters first: a weight that is pruned no more takes its mask with it.
    for name in sorted(changed - saved.keys(), key=lambda each: (each not in held, each)):
        path, _, leaf = name.rpartition(".")
        if path in every:
            _let_go(every[path], path, leaf, saved)
    for name in changed & saved.keys():
        path, _, leaf = name.rpartition(".")
        if path in every:
            _hold(every[path], leaf, saved[name], device, is_parameter=name in parameters)


def _let_go(owner: nn.Module, path: str, name: str, saved: Mapping[str, Any]) -> None:
    """Take a tensor away that the saved module had no more, or under another name."""
    bare = name.removesuffix(_ORIGINAL)
    if name in _held(owner, "_parameters"):
        if _below(path, name + _ORIGINAL) in saved:
            prune.custom_from_mask(owner, name, torch.ones_like(getattr(owner, name)))
        elif name != bare and _below(path, bare) in saved:
            prune.remove(owner, bare)
    elif name in _held(owner, "_buffers"):  # unless it was a mask, which is gone by now
        owner._buffers[name] = None  # noqa: SLF001  # there is no other way to take it away


def _hold(
    owner: nn.Module, name: str, saved: Any, device: torch.device, *, is_parameter: bool
) -> None:
    live = _held(owner, "_parameters").get(name)
    if live is None:
        live = _held(owner, "_buffers").get(name)
    if live is not None and is_lazy(live):
        live.materialize(saved.shape, device=live.device, dtype=saved.dtype)
    elif live is not None and live.shape != saved.shape:
        live.data = torch.empty(saved.shape, dtype=live.dtype, device=live.device)
    elif live is None and not is_parameter:
        owner.register_buffer(name, torch.empty(saved.shape, dtype=saved.dtype, device=device))


def _held(module: nn.Module, kind: str) -> dict[str, Any]:
    found = getattr(module, kind, None)  # a scripted module's is no dict
    return found if isinstance(found, dict) else {}


def _dtype(tensor: torch.Tensor | None) -> torch.dtype | None:
    return None if tensor is None or is_lazy(tensor) else tensor.dtype


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
