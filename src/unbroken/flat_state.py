"""The state as a flat list: captured parts taken apart into values and tensors, each by its path."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from unbroken.checks.observation import Leaf
from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digests
from unbroken.state.dtypes import dtype_name
from unbroken.tree import leaves


def flat(parts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is no tensor, by path in the codec's form, and the tensors by path."""
    values: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    for name, part in parts.items():
        form = dict(leaves(encode(part, name, tensors), name))
        stands_for = {
            path[:-2] for path, each in form.items() if (path[-2:], each) == (".$", "tensor")
        }
        values |= {
            path: each for path, each in form.items() if path.rpartition(".")[0] not in stands_for
        }
    return values, tensors


def digested(tensors: Mapping[str, Any]) -> dict[str, Leaf]:
    """Return what each tensor is, with the digest of its bytes, by path."""
    digests = tensor_digests(tensors)
    return {path: leaf_of(each, digests[path]) for path, each in tensors.items()}


def leaf_of(tensor: Any, digest: str = "") -> Leaf:
    """Return what a tensor is; its digest where it was made."""
    return Leaf(dtype_name(tensor, "a leaf"), tuple(tensor.shape), digest)


def nonfinite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the paths of the tensors with entries that are not finite; two threads look."""
    with ThreadPoolExecutor(2, thread_name_prefix="unbroken-finite") as threads:
        finite = threads.map(_is_finite, tensors.values())
        return [path for path, good in zip(tensors, finite, strict=True) if not good]


def _is_finite(tensor: torch.Tensor) -> bool:
    """Say whether all entries are finite; their sum tells in one pass, unless it overflows itself."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    whole = tensor.detach()
    if whole.device.type == "cpu" and whole.dtype in (torch.float32, torch.float64):
        # Not torch's sum: its threads wait for each other where other programs use the cores too.
        with np.errstate(all="ignore"):
            if np.isfinite(whole.resolve_neg().numpy().sum()):
                return True
    return bool(
        torch.isfinite(whole.float().sum() if whole.dtype.itemsize < 4 else whole.sum())
    ) or bool(torch.isfinite(whole.float() if whole.dtype.itemsize < 2 else whole).all())
