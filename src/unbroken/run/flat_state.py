"""The state as a flat list: captured parts taken apart into values and tensors, each by its path."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import xxhash

from unbroken.checks.state_summary import Leaf
from unbroken.state.codec import encode
from unbroken.state.digest import host_bytes, tensor_digests
from unbroken.state.dtypes import dtype_name
from unbroken.tree import leaves

DIGEST_BLOCK = 1 << 20
"""Bytes that are looked at in a row; they stay in a core's cache."""

_SUMMED = {torch.float32: np.float32, torch.float64: np.float64}
"""What numpy sums as it lies in memory."""


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


def digested_and_nonfinite(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, Leaf], list[str]]:
    """Return what `digested` does, and the paths of tensors with entries that are not finite.

    Both are found a block at a time, so that the memory is gone through once; two threads look.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="unbroken-look") as threads:
        found = dict(zip(tensors, threads.map(_look, tensors.values()), strict=True))
    seen = {path: leaf_of(each, found[path][0]) for path, each in tensors.items()}
    return seen, [path for path, (_, is_finite) in found.items() if not is_finite]


def _look(tensor: torch.Tensor) -> tuple[str, bool]:
    """Return a tensor's digest, and whether all its entries are finite.

    The sum of a block tells, unless it overflows itself; then the entries are asked.
    """
    data, whole, number = host_bytes(tensor), xxhash.xxh3_128(), _SUMMED.get(tensor.dtype)
    is_plain = number is not None
    with np.errstate(all="ignore"):
        for start in range(0, len(data), DIGEST_BLOCK):
            block = data[start : start + DIGEST_BLOCK]
            whole.update(block)
            # Not torch's sum: its threads wait for each other where others use the cores too.
            is_plain = is_plain and bool(np.isfinite(np.frombuffer(block, number).sum()))
    return whole.hexdigest(), is_plain or _is_finite(tensor)


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    whole = tensor.detach()
    return bool(torch.isfinite(whole.float() if whole.dtype.itemsize < 2 else whole).all())
