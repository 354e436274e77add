"""What nothing may move: whole tensors of the models, or ranges of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.state.digest import tensor_digest
from unbroken.state.modules import ModulePart
from unbroken.state.optimizers import OptimizerPart

Rows = slice | None
"""A range of rows; None for the whole tensor."""


def frozen_digests(parts: Mapping[str, Any], frozen: Mapping[str, Rows]) -> dict[str, str]:
    """Return the digest of each frozen range, by its name."""
    tensors = _tensors(parts) if frozen else {}
    return {
        shown_rows(path, rows): tensor_digest(_rows(tensors[path], rows))
        for path, rows in frozen.items()
        if path in tensors
    }


def reached(parts: Mapping[str, Any], frozen: Mapping[str, Rows]) -> list[str]:
    """Return what could move, or is about to move, a frozen range."""
    tensors = _tensors(parts) if frozen else {}
    found = []
    for path, rows in frozen.items():
        shown = shown_rows(path, rows)
        if path not in tensors:
            found.append(f"{shown}: is not in the model")
            continue
        tensor = tensors[path]
        if tensor.grad is not None and bool(_rows(tensor.grad, rows).any()):
            found.append(f"{shown}: has a gradient")
        for name, part in parts.items():
            if isinstance(part, OptimizerPart):
                found.extend(f"{shown}: {each}" for each in _held(name, part, tensor, rows))
    return found


def shown_rows(path: str, rows: Rows) -> str:
    """Return the name of a frozen tensor or range of its rows."""
    return path if rows is None else f"{path}[{rows.start or 0}:{rows.stop}]"


def _held(name: str, part: OptimizerPart, tensor: torch.Tensor, rows: Rows) -> list[str]:
    """Say how an optimiser moves rows of a tensor although their gradient is zero."""
    found = []
    for i, group in enumerate(part.optimizer.param_groups):
        if not any(each is tensor for each in group["params"]):
            continue
        decay = group.get("weight_decay") or group.get("lambd")
        if decay and tensor.requires_grad:  # without a gradient no optimiser touches it
            found.append(f"decays by {decay} in {name}.groups.{i}")
        held = getattr(part.optimizer, "state", {}).get(tensor, {})
        moments = [held[key] for key in ("exp_avg", "momentum_buffer") if key in held]
        if any(torch.is_tensor(each) and bool(_rows(each, rows).any()) for each in moments):
            found.append(f"has momentum in {name}")
    return found


def _tensors(parts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": each
        for name, part in parts.items()
        if isinstance(part, ModulePart)
        for key, each in part.module.state_dict(keep_vars=True).items()
        if isinstance(each, torch.Tensor)
    }


def _rows(tensor: torch.Tensor, rows: Rows) -> torch.Tensor:
    return tensor.detach() if rows is None else tensor.detach()[rows].contiguous()
