"""Names of things inside nested state: `model.layers.0.weight` is a leaf's path.

A path is made of the keys from the root down, joined by dots. Wrappers that only forward to
another module (data parallel, compiled) are removed by their type, never by cutting strings.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from torch import nn


def unwrap(module: nn.Module) -> nn.Module:
    """Return the module that a data-parallel or compiled wrapper forwards to."""
    while True:
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
            module = module.module
        elif _is_compiled(module):
            module = module._orig_mod  # noqa: SLF001
        else:
            return module


def _is_compiled(module: nn.Module) -> TypeGuard[Any]:
    """Say whether it is what `torch.compile(module)` made; torch's compiler isn't imported for it."""
    compiler = sys.modules.get("torch._dynamo")
    return compiler is not None and isinstance(module, compiler.OptimizedModule)


_COMPILED = "_orig_mod"
"""PyTorch's own name for the module inside a compiled one."""


def uncompiled(path: str) -> str:
    """Return a path without the names that compiling adds: compiled or not, it is the same module."""
    if _COMPILED not in path:
        return path
    return ".".join(each for each in path.split(".") if each != _COMPILED)


def uncompiled_names(value: Any) -> Any:
    """Return nested state without the names that compiling adds, in its keys and in its texts.

    Earlier versions saved them.
    """
    if type(value) in (dict, OrderedDict):
        return type(value)(
            (uncompiled_names(key), uncompiled_names(each)) for key, each in value.items()
        )
    if type(value) is list:
        return [uncompiled_names(each) for each in value]
    return uncompiled(value) if type(value) is str else value


def map_leaves(value: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """Rebuild dicts, lists, tuples and deques, every other value passed through `change(path, value)`."""
    if type(value) in (dict, OrderedDict):
        pairs = ((key, map_leaves(each, change, join(path, key))) for key, each in value.items())
        return type(value)(pairs)
    if type(value) is deque:
        items = (map_leaves(each, change, join(path, i)) for i, each in enumerate(value))
        return deque(items, value.maxlen)
    if type(value) is list:
        return [map_leaves(each, change, join(path, i)) for i, each in enumerate(value)]
    if type(value) is tuple:
        return tuple(map_leaves(each, change, join(path, i)) for i, each in enumerate(value))
    return change(path, value)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk over dicts, lists and tuples in order and yield `(path, leaf)`; an empty one is a leaf."""
    if isinstance(value, Mapping | list | tuple) and not value:
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, join(path, key))
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from leaves(each, join(path, i))
    else:
        yield path, value


def join(path: str, key: object) -> str:
    """Return the path of `key` below `path`; an empty key adds nothing."""
    return f"{path}.{key}" if path and key != "" else path or str(key)
