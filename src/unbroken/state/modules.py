"""Modules as a part: parameters and buffers by name, ties stored once, training modes kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unbroken.state.stored import fill, in_memory

TENSORS = ""
"""Key of a module's tensors: an empty key adds nothing to a path, so a leaf is `part.name`."""

EXTRA = "_extra_state"
"""PyTorch's name for what `get_extra_state` returned."""


class ModulePart:
    """The state of one unwrapped module.

    Saved are its tensors (each tie once, under its first name), what `get_extra_state` returned, the
    training mode of each submodule, and which parameters require gradients.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module

    def capture(self) -> dict[str, Any]:
        """Return the tensors, `aliases`, `extra`, `training` and `requires_grad`."""
        state = self.module.state_dict(keep_vars=True)
        tensors: dict[str, torch.Tensor] = {}
        aliases: dict[str, str] = {}
        first: dict[tuple[Any, ...], str] = {}
        extra: dict[str, Any] = {}
        for name, each in state.items():
            if name.rpartition(".")[2] == EXTRA:  # may be a tensor, but not one to copy into
                extra[name] = each
                continue
            same = (each.data_ptr(), each.shape, each.stride(), each.dtype, str(each.device))
            if each.numel() and same in first:
                aliases[name] = first[same]
            else:
                first[same] = name
                tensors[name] = each.detach()
        return {
            TENSORS: tensors,
            "aliases": aliases,
            "extra": extra,
            "training": {name: each.training for name, each in self.module.named_modules()},
            "requires_grad": {n: each.requires_grad for n, each in self.module.named_parameters()},
        }

    def differences(self, saved: Any) -> list[str]:
        """Compare names, ties, shapes and dtypes."""
        live = self.capture()
        if not isinstance(saved, dict) or set(saved) != set(live):
            return [f"{self.name}: the saved state is not a module's"]
        found = tensor_differences(self.name, saved[TENSORS], live[TENSORS])
        if saved["aliases"] != live["aliases"]:
            found.append(f"{self.name}: ties are {live['aliases']}, were {saved['aliases']}")
        for kind in ("extra", "training", "requires_grad"):
            if set(saved[kind]) != set(live[kind]):
                names = sorted(set(saved[kind]) ^ set(live[kind]))
                found.append(f"{self.name}: {kind} differs at {', '.join(names[:5])}")
        return found

    @torch.no_grad()
    def restore(self, saved: Any) -> None:
        """Copy into the existing storages; set extra state and training modes."""
        live = self.capture()[TENSORS]
        for name, each in saved[TENSORS].items():
            if live[name].is_contiguous():
                fill(live[name], each)
            else:
                _unexpanded(live[name]).copy_(_unexpanded(in_memory(each), like=live[name]))
        for name, each in saved["extra"].items():
            owner = name.removesuffix(EXTRA).removesuffix(".")
            self.module.get_submodule(owner).set_extra_state(each)
        for name, each in self.module.named_modules():
            each.training = saved["training"][name]
        for name, each in self.module.named_parameters():
            each.requires_grad_(saved["requires_grad"][name])


def _unexpanded(tensor: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """Return the first of each run of entries that share memory: an expanded tensor can't be copied to."""
    strides = (tensor if like is None else like).stride()
    for dim, stride in enumerate(strides):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


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
