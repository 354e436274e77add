"""Where an optimiser has its own way to give or to take its state, and what it has inside."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import torch
from torch import nn

_HOOKS: Final = {
    "state_dict": ("_optimizer_state_dict_pre_hooks", "_optimizer_state_dict_post_hooks"),
    "load_state_dict": (
        "_optimizer_load_state_dict_pre_hooks",
        "_optimizer_load_state_dict_post_hooks",
    ),
}
"""Where PyTorch keeps what was registered to act around each of the two."""


_CODE: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
"""Options that are code: a checkpoint can't hold them, and training does not change them."""


def is_code(option: Any) -> bool:
    """Say whether an option of a group is code."""
    return isinstance(option, _CODE)


def code_options(optimizer: Any, i: int) -> dict[str, Any]:
    """Return the options of a group that are code."""
    return {key: each for key, each in optimizer.param_groups[i].items() if is_code(each)}


def is_optimizer(value: Any) -> bool:
    """Say whether a value is an optimiser, or a wrapper that stands for one."""
    if isinstance(value, torch.optim.Optimizer):
        return True
    return (
        not isinstance(value, nn.Module | type)
        and isinstance(getattr(value, "param_groups", None), list)
        and all(callable(getattr(value, n, None)) for n in ("step", "zero_grad", *_HOOKS))
    )


@cache
def attributes_of_every_optimizer() -> frozenset[str]:
    """Return what PyTorch keeps at every optimiser: state with a place of its own, or none.

    Asked for when it is needed: to build an optimiser imports torch's compiler, which takes two
    seconds, and what only reads checkpoints or speaks builds none.
    """
    return frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1))) | {"_opt_called"}


def is_of_torch(optimizer: Any) -> bool:
    """Say whether the class is one of `torch.optim`."""
    return type(optimizer).__module__.startswith("torch.optim.")


def gives_its_own(optimizer: Any) -> bool:
    """Say whether its `state_dict()` is not PyTorch's: the saved form need not be the live one."""
    return _is_own(optimizer, "state_dict")


def takes_its_own(optimizer: Any) -> bool:
    """Say whether its `load_state_dict()` is not PyTorch's, or what it saves is of its own form."""
    return _is_own(optimizer, "load_state_dict") or gives_its_own(optimizer)


def _is_own(optimizer: Any, method: str) -> bool:
    if not isinstance(optimizer, torch.optim.Optimizer) or method in vars(optimizer):
        return True
    if getattr(type(optimizer), method) is not getattr(torch.optim.Optimizer, method):
        return True
    return any(getattr(optimizer, hooks, None) for hooks in _HOOKS[method])


def inner_optimizers(optimizer: Any) -> dict[str, Any]:
    """Return the optimisers that one has as attributes, directly or in a list or dict, by path."""
    return {
        path: each
        for name, value in getattr(optimizer, "__dict__", {}).items()
        for path, each in _optimizers_in(name, value)
        if each is not optimizer
    }


def _optimizers_in(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if is_optimizer(value):
        yield path, value
    elif isinstance(value, list | tuple) and len(value) < 100:
        for i, each in enumerate(value):
            if is_optimizer(each):
                yield f"{path}.{i}", each
    elif isinstance(value, Mapping) and len(value) < 100:
        for key, each in value.items():
            if is_optimizer(each):
                yield f"{path}.{key}", each
