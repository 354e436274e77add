"""Modules that save or load in a way of their own: then that way is the authority, not ours.

The fast path puts tensors by name into the storages that a module has. It does what PyTorch's own
`load_state_dict` does, and no more. Where a class, an instance or a hook does more, the module's own
methods are used.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import nn

_METHODS = ("state_dict", "load_state_dict", "_save_to_state_dict", "_load_from_state_dict")
_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_STOCK = ("torch.nn.", "torch._dynamo.")
"""What PyTorch defines here does no more than the fast path, unless a state is of an old version."""


def has_own_way(module: nn.Module) -> bool:
    """Say whether anything in a module saves or loads in a way of its own."""
    return any(is_own(each) for each in module.modules())


def is_own(module: nn.Module) -> bool:
    """Say whether a module saves or loads in a way of its own, whatever is inside it."""
    held = vars(module)
    kind: Any = type(module)
    return (
        _is_own_class(kind)
        or any(name in held for name in _METHODS)
        or any(
            _is_defined_outside(hook) for kind in _HOOKS for hook in (held.get(kind) or {}).values()
        )
    )


@cache
def _is_own_class(kind: type[nn.Module]) -> bool:
    return any(_is_defined_outside(getattr(kind, name)) for name in _METHODS)


def _is_defined_outside(function: Any) -> bool:
    function = getattr(function, "hook", function)  # PyTorch wraps those that want the module
    where = getattr(function, "__module__", None) or type(function).__module__
    return not str(where).startswith(_STOCK)


def is_patched(module: nn.Module) -> bool:
    """Say whether an instance in a module has a method of its own: a copy would call the original's."""
    return any(name in vars(each) for each in module.modules() for name in _METHODS)


def gives_live_tensors(module: nn.Module) -> bool:
    """Say whether the module's own `state_dict` is PyTorch's, and knows `keep_vars`."""
    name = _METHODS[0]
    return name not in vars(module) and not _is_defined_outside(getattr(type(module), name))
