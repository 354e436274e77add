"""Flags that are set when a module is first used, together with what they stand for.

A layer that takes its initial scale from its first batch (ActNorm) notes so in a flag. A flag that is no
buffer is unset again at the next start, and the layer overwrites what was restored. A flag that
was set while nothing of its module was written is none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn

from unbroken.audit.content import as_tensor, tensor_content
from unbroken.audit.look import Kind, Look

MOST_MODULES: Final = 256
"""Modules that are watched."""


class FirstUse:
    """Watches the modules that have an unset flag, from before the first step to its backward pass.

    Args:
        before: What was reached before the first step.
    """

    def __init__(self, before: Look) -> None:
        self._flags: list[tuple[str, str, nn.Module]] = []
        self._before: dict[int, list[str]] = {}
        for path, sight in before.sights.items():
            reached = before.reached[path]
            module = reached.above.value if reached.above else None
            is_unset = sight.kind in (Kind.FLAG, Kind.NUMBER) and not sight.content
            if not is_unset or len(self._before) >= MOST_MODULES:
                continue
            if not isinstance(module, nn.Module) or not _is_own(module):
                continue
            self._flags.append((path, str(reached.key), module))
            if id(module) not in self._before:
                self._before[id(module)] = list(_contents(module))

    def written(self) -> set[str]:
        """Return the paths of the flags that are set by now, in modules of which a tensor was written."""
        return {
            path
            for path, name, module in self._flags
            if _is_set(vars(module).get(name))
            and self._before[id(module)] != list(_contents(module))
        }


def _is_own(module: nn.Module) -> bool:
    """Say whether a module's class is not PyTorch's, and it saves tensors of its own."""
    is_torchs = type(module).__module__.startswith("torch.")
    return not is_torchs and any(True for _ in _tensors(module))


def _is_set(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and bool(value)
    return isinstance(value, bool | int) and bool(value)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    fleeting = vars(module).get("_non_persistent_buffers_set", ())
    yield from module.parameters(recurse=False)
    yield from (b for name, b in module.named_buffers(recurse=False) if name not in fleeting)


def _contents(module: nn.Module) -> Iterator[str]:
    for each in _tensors(module):
        plain = as_tensor(each)
        if plain is not None:
            yield tensor_content(plain)
