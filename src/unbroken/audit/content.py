"""What a value was at one moment, kept small: a few bytes that tell whether it is another now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch

from unbroken.state.digest import tensor_digest
from unbroken.tree import leaves

MOST_ENTRIES: Final = 1 << 16
"""Entries of a larger tensor that are looked at, spread over all of it."""
_LONG: Final = 2**16
"""Numbers of a generator's state that are as large are its own."""


def tensor_content(tensor: torch.Tensor) -> str:
    """Return a digest of a tensor's entries; of some of them where it has many."""
    return tensor_digest(_sample(tensor))


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout is not torch.strided:
        tensor = tensor.detach().to_dense()
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.numel() <= MOST_ENTRIES:
        return tensor
    # At random places, always the same ones: no grid that the rows of a table could slip through.
    chosen = torch.Generator().manual_seed(tensor.numel())
    places = torch.randint(tensor.numel(), (MOST_ENTRIES,), generator=chosen).to(tensor.device)
    if tensor.is_contiguous():
        return tensor.view(-1)[places]
    return tensor[torch.unravel_index(places, tensor.shape)]


def common_block(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Return what a tensor has in common with one of another shape; None where they can't have any."""
    if len(shape) != tensor.dim():
        return None
    both = tuple(slice(0, min(a, b)) for a, b in zip(shape, tensor.shape, strict=True))
    return tensor[both]


def as_tensor(value: Any) -> torch.Tensor | None:
    """Return a tensor, or an array as one; None for anything else, and where there is no data."""
    if isinstance(value, torch.Tensor):
        return None if value.device.type == "meta" else value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.ascontiguousarray(value).view(np.uint8).reshape(-1))
    return None


def own_numbers(state: Any) -> Iterator[int | torch.Tensor]:
    """Yield what of a generator's state no other value equals by chance: long numbers and arrays."""
    for _, each in leaves(state):
        tensor = as_tensor(each)
        if tensor is not None:
            yield tensor
        elif isinstance(each, int) and each >= _LONG:
            yield each
