"""The dtypes that a checkpoint can hold, with their names in the safetensors format."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from unbroken.errors import NotEncodable

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def dtype_name(tensor: torch.Tensor, path: str) -> str:
    """Return the format's name of a tensor's dtype.

    Raises:
        NotEncodable: The format has no name for it.
    """
    if tensor.dtype not in _NAMES:
        raise NotEncodable(
            f"{path} has dtype {tensor.dtype}.",
            "The safetensors format has no name for it, so it could not be read back.",
            "Keep this state in another dtype.",
        )
    return _NAMES[tensor.dtype]


def short_dtype(dtype: torch.dtype) -> str:
    """Return the format's name of a dtype, or PyTorch's where it has none."""
    return _NAMES.get(dtype, str(dtype))


MOST_BYTES = 1 << 62
"""More than any file has."""


def byte_count(shape: Iterable[int], dtype: torch.dtype) -> int:
    """Return the bytes of a tensor, at most `MOST_BYTES`.

    A shape out of a file may lie, and numbers that grow without limit would take forever.

    Args:
        shape: Sizes of the dimensions, each at least 0.
        dtype: Of the elements.
    """
    sizes = list(shape)
    if 0 in sizes:
        return 0
    count = dtype.itemsize
    for each in sizes:
        count = min(count * each, MOST_BYTES)
    return count
