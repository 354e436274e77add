"""A digest of what a batch holds, in a fraction of a millisecond: is it the batch it was?

Names of samples don't tell that a file was edited or that a data set stands in reverse. Of a large
tensor some windows are read; of one that isn't on the host only shape and type, for reading it would
make the training wait.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from xxhash import xxh3_64

WINDOWS: Final = 16
"""Windows that are read of a large tensor."""
WINDOW: Final = 4096
"""Bytes of each."""
DEEPEST: Final = 8
"""How deep a batch may be nested; what is deeper is not read."""
_TOLD_BY_REPR: Final = (str, bytes, int, float, bool, type(None))
_Update = Callable[[bytes | memoryview], None]


def content_digest(batch: Any) -> str:
    """Return a digest of 64 bits, in hex, over tensors, arrays, texts and numbers, in order."""
    hasher = xxh3_64()
    _take_in(hasher.update, batch, 0)
    return hasher.hexdigest()


def _take_in(update: _Update, value: Any, depth: int) -> None:
    if isinstance(value, torch.Tensor):
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        _take_in_tensor(update, value.detach())
    elif isinstance(value, np.ndarray):
        update(f"{value.dtype}{value.shape}".encode())
        if value.dtype != object:
            _take_in_bytes(update, np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, _TOLD_BY_REPR):
        update(repr(value).encode("utf-8", "surrogatepass"))
    elif depth < DEEPEST:
        update(type(value).__name__.encode())
        _take_in_parts(update, value, depth + 1)


def _take_in_parts(update: _Update, value: Any, depth: int) -> None:
    if isinstance(value, Mapping):
        for key, each in value.items():
            update(repr(key).encode("utf-8", "surrogatepass"))
            _take_in(update, each, depth)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _take_in(update, each, depth)
    elif dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        for name, each in vars(value).items():
            update(name.encode("utf-8", "surrogatepass"))
            _take_in(update, each, depth)


def _take_in_tensor(update: _Update, tensor: torch.Tensor) -> None:
    is_readable = tensor.is_cpu and tensor.layout is torch.strided
    if not is_readable or tensor.is_quantized or not tensor.numel():
        return
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    _take_in_bytes(update, tensor.contiguous().view(-1).view(torch.uint8).numpy())


def _take_in_bytes(update: _Update, array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    content = array.data
    if len(content) <= WINDOWS * WINDOW:
        update(content)
        return
    step = (len(content) - WINDOW) // (WINDOWS - 1)
    for start in range(0, WINDOWS * step, step):
        update(content[start : start + WINDOW])
