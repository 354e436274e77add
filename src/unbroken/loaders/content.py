"""A digest of what a batch holds, in a fraction of a millisecond: is it the batch it was?

Names of samples don't tell that a file was edited or that a data set stands in reverse. Of a large
tensor some windows are read; of one that isn't on the host only shape and type, for reading it would
make the training wait.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
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


def content_digest(batch: Any) -> str:
    """Return a digest of 64 bits, in hex, over tensors, arrays, texts and numbers, in order."""
    hasher = xxh3_64()
    for each in _pieces(batch, 0):
        hasher.update(each)
    return hasher.hexdigest()


def _pieces(value: Any, depth: int) -> Iterator[bytes | memoryview]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield from _windows(value.detach())
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        if value.dtype != object:
            yield from _of_bytes(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, str | bytes | int | float | bool | None):
        yield repr(value).encode("utf-8", "surrogatepass")
    elif depth < DEEPEST:
        yield type(value).__name__.encode()
        yield from _of_parts(value, depth + 1)


def _of_parts(value: Any, depth: int) -> Iterator[bytes | memoryview]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield repr(key).encode("utf-8", "surrogatepass")
            yield from _pieces(each, depth)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _pieces(each, depth)
    elif dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        for name, each in vars(value).items():
            yield name.encode("utf-8", "surrogatepass")
            yield from _pieces(each, depth)


def _windows(tensor: torch.Tensor) -> Iterator[bytes | memoryview]:
    is_readable = tensor.device.type == "cpu" and tensor.layout is torch.strided
    if not is_readable or tensor.is_quantized or not tensor.numel():
        return
    flat = tensor.resolve_conj().resolve_neg().contiguous().view(-1)
    yield from _of_bytes(flat.view(torch.uint8).numpy())


def _of_bytes(content: np.ndarray[Any, np.dtype[np.uint8]]) -> Iterator[memoryview | bytes]:
    if len(content) <= WINDOWS * WINDOW:
        yield content.data
        return
    step = (len(content) - WINDOW) // (WINDOWS - 1)
    for start in range(0, WINDOWS * step, step):
        yield content[start : start + WINDOW].data
