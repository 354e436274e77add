"""Modules as a part: parameters and buffers by name, ties stored once, training modes kept.

What a module's own `state_dict()` and `load_state_dict()` do is the authority. Where both are
PyTorch's, tensors are put by name into the storages that are there, one at a time. Where a class, an
instance or a hook has a way of its own, that way is gone. What then stands in the module is compared
with what was saved, to the last bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from unbroken.errors import StateMismatch
from unbroken.state.foreign import while_loading, while_saving
from unbroken.state.module_shape import ModuleShape, form_of, owners, take_shape
from unbroken.state.module_state import (
    BORN,
    EXTRA,
    TENSORS,
    VERSIONS,
    Form,
    all_tensors,
    copied,
    identity_of,
    is_leaf,
    is_modules,
    of_other_forms,
    shown_form,
    size_of,
    storage_of,
    tensors_of,
    unexpanded,
    values_of,
)
from unbroken.state.module_ways import gives_live_tensors, has_own_way
from unbroken.state.rehearsal import is_same, names_that_differ, rehearsed
from unbroken.state.stored import fill, holds_tensors, in_memory
from unbroken.tree import map_leaves, uncompiled

__all__ = ["TENSORS", "ModulePart", "across_samples"]


class ModulePart:
    """The state of one unwrapped module.

    Saved are its tensors (each tie once, under its first name), what `get_extra_state` returned, the
    training mode of each submodule, and which parameters require gradients. Where tensors came, grew
    or went since the run was set up, `born` has what they were then, None where there was none.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module
        self._shape = ModuleShape.of(module)
        self._inside = {uncompiled(path) for path, _ in module.named_modules()}
        self._born = {n: Form(t.dtype, t.shape) for n, t in tensors_of(self._own_state()).items()}

    def capture(self) -> dict[str, Any]:
        """Return the tensors, `aliases`, `extra`, `training` and `requires_grad`.

        Raises:
            NotEncodable: The module's own `state_dict()` failed.
        """
        own = self._own_state()
        tensors: dict[str, torch.Tensor] = {}
        aliases: dict[str, str] = {}
        first: dict[tuple[Any, ...], str] = {}
        extra: dict[str, Any] = {}
        for name, each in own.items():
            if not is_leaf(name, each):  # may be a tensor, but not one to copy into
                extra[name] = each
                continue
            same = identity_of(each)
            if each.numel() and same in first:
                aliases[name] = first[same]
            else:
                first[same] = name
                tensors[name] = each.detach()
        found = {
            TENSORS: tensors,
            "aliases": aliases,
            "extra": extra,
            "training": {
                uncompiled(name): each.training for name, each in self.module.named_modules()
            },
            "requires_grad": {
                uncompiled(n): each.requires_grad for n, each in self.module.named_parameters()
            },
        }
        if born := self._changed_since_birth(tensors_of(own)):
            found[BORN] = born
        if has_own_way(self.module) and (versions := getattr(own, "_metadata", None)):
            found[VERSIONS] = {uncompiled(path): each for path, each in versions.items()}
        return found

    def _own_state(self) -> OrderedDict[str, Any]:
        """Return the module's own state by uncompiled name, without what a lazy module has yet to make."""
        with while_saving(self.name):
            own = (
                self.module.state_dict(keep_vars=True)
                if gives_live_tensors(self.module)
                else self.module.state_dict()
            )
            found = OrderedDict(
                (uncompiled(name), each) for name, each in own.items() if not is_lazy(each)
            )
        found._metadata = getattr(own, "_metadata", {})  # type: ignore[attr-defined]  # noqa: SLF001  # as PyTorch does
        return found

    def _changed_since_birth(self, now: Mapping[str, Any]) -> dict[str, str | None]:
        """Return the forms that tensors were born with, of those that have others now."""
        changed = of_other_forms(self._born, now)
        return {n: form_of(self._born[n]) if n in self._born else None for n in sorted(changed)}

    def differences(self, saved: Any) -> list[str]:
        """Compare names, ties, shapes and dtypes."""
        live = self.capture()
        if not is_modules(saved):
            return [f"{self.name}: the saved state is not a module's"]
        found = self._tensor_differences(saved, live)
        born = saved.get(BORN, {})
        ties = {n: first for n, first in saved["aliases"].items() if n not in born}
        if ties != {n: first for n, first in live["aliases"].items() if n not in born}:
            found.append(f"{self.name}: ties are {live['aliases']}, were {saved['aliases']}")
        for kind in ("extra", "training", "requires_grad"):
            names = sorted((set(saved[kind]) ^ set(live[kind])) - set(born))
            if names:
                found.append(f"{self.name}: {kind} differs at {', '.join(names[:5])}")
        return found

    def _tensor_differences(self, saved: Any, live: Any) -> list[str]:
        """Say which tensors differ in form, unless the saved module was built with them as they are here."""
        before, now = all_tensors(saved), all_tensors(live)
        born = saved.get(BORN, {})
        shape = ModuleShape.of(self.module) if born else None
        odd = {
            name
            for name in of_other_forms(before, now)
            if name not in born
            or born[name] != (form_of(now[name]) if name in now else None)
            or not (shape and shape.can_take(name, before, saved["requires_grad"]))
        }
        return tensor_differences(
            self.name,
            {
                name: each
                for name, each in before.items()
                if name not in saved["aliases"] and name in odd
            },
            {
                name: each
                for name, each in now.items()
                if name not in live["aliases"] and name in odd
            },
        )

    def refusals(self, captured: Any) -> list[str]:
        """Say what of a state the module would not take in as it was when the run was set up."""
        saved = all_tensors(captured)
        found = [
            f"{self.name}.{name}: {shown_form(saved.get(name))}, was {was or 'not there'} when Run(...) "
            "was made"
            for name, was in captured.get(BORN, {}).items()
            if not self._shape.can_take(name, saved, captured["requires_grad"])
        ]
        found += [
            f"{self.name}.{path}: a module that {'is' if path in self._inside else 'was'} not there "
            f"{'any more' if path in self._inside else 'when Run(...) was made'}"
            for path in sorted(self._inside ^ set(captured["training"]))
        ][:5]
        try:
            copy = None if found else rehearsed(self.module, self._load_into, captured)
        except StateMismatch as error:
            return [error.what]
        if copy is None:
            return found
        back = ModulePart(self.name, copy).capture()
        lost = names_that_differ(values_of(captured), values_of(back), self.name)
        return [
            f"{name}: the module's own load_state_dict() does not bring it back" for name in lost
        ]

    def _load_into(self, copy: nn.Module, captured: Any) -> None:
        """Put a state into a copy of the module whose tensors were emptied, as a start would."""
        sizes = {n: was for n, was in captured.get(BORN, {}).items() if was is not None}
        for path, each in owners(copy).items():
            for leaf, buffer in each._buffers.items():  # noqa: SLF001  # to give it its first size
                name = f"{path}.{leaf}" if path else leaf
                if buffer is not None and name in sizes:
                    buffer.data = buffer.data.new_zeros(size_of(sizes[name]))
        ModulePart(self.name, copy).restore(captured)

    def unsaved(self, parameters: Mapping[str, torch.Tensor]) -> list[str]:
        """Return those of the module's parameters, by name, that its own state does not hold.

        What a class packs in its own way is looked for in what a copy of it makes of the state.
        """
        own = self._own_state()
        held = {storage_of(each) for name, each in own.items() if is_leaf(name, each)}
        missing = [
            name
            for name, each in parameters.items()
            if not is_lazy(each) and each.numel() and storage_of(each) not in held
        ]
        copy = None
        with suppress(StateMismatch):  # what it refuses can't have everything in it
            copy = rehearsed(self.module, self._load_into, self.capture()) if missing else None
        if copy is None:
            return missing
        back = {uncompiled(name): each for name, each in copy.named_parameters()}
        return [n for n in missing if n not in back or not is_same(back[n], parameters[n])]

    def unsaved_states(self) -> list[str]:
        """Return what the module keeps where its own state is empty: tensors that are no buffers."""
        if self._own_state():
            return []
        return [
            f"{path}.{name}" if path else name
            for path, each in owners(self.module).items()
            for name, value in vars(each).items()
            if name in getattr(each, "_defaults", ()) or holds_tensors(value)
        ]

    @torch.no_grad()
    def restore(self, saved: Any) -> None:
        """Put tensors into the existing storages, or give all to the module's own `load_state_dict()`.

        Raises:
            StateMismatch: The module's own method failed.
        """
        tensors = all_tensors(saved)
        odd = of_other_forms(tensors, all_tensors(self.capture()))
        take_shape(self.module, tensors, odd, saved["requires_grad"])
        if has_own_way(self.module):
            self._load(saved)
        else:
            self._fill(saved)
        for name, each in self.module.named_modules():
            each.training = saved["training"][uncompiled(name)]
        for name, each in self.module.named_parameters():
            each.requires_grad_(saved["requires_grad"][uncompiled(name)])

    def _fill(self, saved: Any) -> None:
        live = self.capture()[TENSORS]
        for name, each in saved[TENSORS].items():
            here = live[name]
            if here.layout is torch.strided and not here.is_contiguous():
                unexpanded(here).copy_(unexpanded(in_memory(each), like=here))
            else:
                fill(here, each)
        paths = self._paths()
        for name, each in _extra(saved).items():
            owner = name.removesuffix(EXTRA).removesuffix(".")
            with while_loading(self.name):
                self.module.get_submodule(paths[owner]).set_extra_state(each)

    def _load(self, saved: Any) -> None:
        """Hand everything to the module's own `load_state_dict`, under the names that it has here."""
        paths = self._paths()
        state: OrderedDict[str, Any] = OrderedDict()
        own: dict[str, Any] = {name: copied(each) for name, each in saved[TENSORS].items()}
        own |= {name: own[first] for name, first in saved["aliases"].items()}
        for name, each in {**own, **_extra(saved)}.items():
            path, _, leaf = name.rpartition(".")
            path = paths.get(path, path)
            state[f"{path}.{leaf}" if path else leaf] = each
        versions = saved.get(VERSIONS)
        if versions is None:  # of an earlier version of ours: the module's own are the best guess
            state._metadata = getattr(self.module.state_dict(), "_metadata", None)  # type: ignore[attr-defined]  # noqa: SLF001  # as PyTorch does
        else:
            state._metadata = OrderedDict(  # type: ignore[attr-defined]  # noqa: SLF001  # as PyTorch does
                (paths.get(path, path), each) for path, each in versions.items()
            )
        with while_loading(self.name):
            self.module.load_state_dict(state)

    def _paths(self) -> dict[str, str]:
        """Return the path of each submodule as it is here by its uncompiled one."""
        every = self.module.named_modules(remove_duplicate=False)
        return {uncompiled(path): path for path, _ in every}


def _extra(saved: Any) -> dict[str, Any]:
    """Return what is no tensor of the module, with copies in memory of the tensors inside it."""
    found: dict[str, Any] = map_leaves(saved["extra"], lambda _, each: copied(each))
    return found


def tensor_differences(path: str, saved: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """Say which tensors are missing, surplus, or of another shape or dtype."""
    found = [f"{path}.{name}: missing in the checkpoint" for name in live if name not in saved]
    found += [f"{path}.{name}: surplus in the checkpoint" for name in saved if name not in live]
    for name in live.keys() & saved.keys():
        a, b = saved[name], live[name]
        if a.shape != b.shape:
            found.append(f"{path}.{name}: shape is {tuple(b.shape)}, was {tuple(a.shape)}")
        if a.dtype != b.dtype:
            found.append(f"{path}.{name}: dtype is {b.dtype}, was {a.dtype}")
    return found


def across_samples(parts: Mapping[str, Any]) -> list[str]:
    """Return the modules whose output for a sample depends on the others of its micro-batch."""
    return [
        f"{name}.{path}"
        for name, part in parts.items()
        if isinstance(part, ModulePart)
        for path, each in part.module.named_modules()
        if isinstance(each, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  # of every dimension
    ]
