"""Digests of tensors: XXH3-128 of the bytes, so that one differing bit is seen.

XXH3 finds damage, not forgery: it is fast (tens of GB/s) and not cryptographic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import xxhash

DIGEST_SCHEME = 1
"""Number of this way to make digests; a scheme is never changed, only succeeded."""


ByteArray: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint8]]"
"""(bytes,) uint8: memory as bytes."""


class _Memory:
    """A tensor's memory as numpy asks for it.

    Not `tensor.numpy()`: PyTorch would never let that storage be resized again, which observers of
    quantisation and queues do in place.
    """

    def __init__(self, flat: torch.Tensor) -> None:
        self.flat = flat  # kept alive: numpy keeps this object
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": (flat.numel(),),
            "data": (flat.data_ptr(), False),
        }


def byte_array(tensor: torch.Tensor) -> ByteArray:
    """Return the bytes of a tensor in host memory, in row-major order, as (bytes,) uint8.

    They are the tensor's own where it is contiguous. It may not be resized while they are in use.
    """
    flat = byte_view(tensor)
    return np.asarray(_Memory(flat)) if flat.numel() else np.empty(0, np.uint8)


def host_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the raw bytes of a tensor in row-major order, copied to the host where needed."""
    return byte_array(tensor.to("cpu")).data


def byte_view(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes in row-major order as (bytes,) uint8 on its device.

    They share the tensor's memory where it is contiguous.
    """
    # No lazy conjugates or negatives: their bytes are others.
    whole = tensor.detach().resolve_conj().resolve_neg().contiguous()
    # Not reshape: a single element counts as contiguous whatever its stride, and would keep it.
    flat = whole.as_strided((whole.numel(),), (1,))
    return flat.view(torch.uint8) if whole.numel() else torch.empty(0, dtype=torch.uint8)


def bytes_digest(content: bytes | memoryview) -> str:
    """Return the XXH3-128 of bytes as 32 hexadecimal digits; other threads go on meanwhile."""
    whole = xxhash.xxh3_128()
    whole.update(content)  # not in one call: before xxhash 4 that held the interpreter
    return whole.hexdigest()


def tensor_digest(tensor: torch.Tensor) -> str:
    """Return the XXH3-128 of a tensor's bytes as 32 hexadecimal digits (shape and dtype apart)."""
    return bytes_digest(host_bytes(tensor))


def tensor_digests(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return `tensor_digest` of each tensor by its name, made by two threads.

    One thread alone does not use up what the memory can give. A tensor on another device, or one
    that is not contiguous, is copied for it: two of them at most at a time.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="unbroken-digest") as threads:
        return dict(zip(tensors, threads.map(tensor_digest, tensors.values()), strict=True))


def file_digest(path: Path) -> str:
    """Return the XXH3-128 of a file's bytes, read in blocks."""
    whole = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
    return whole.hexdigest()


def combined_digest(leaves: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return one digest over named tensors: names, dtypes, shapes and bytes, in the given order."""
    whole = xxhash.xxh3_128()
    for name, tensor in leaves:
        whole.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        whole.update(host_bytes(tensor))
    return whole.hexdigest()
