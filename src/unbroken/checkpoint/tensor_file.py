"""Tensors in the safetensors format, written by us so that digests are made on the way.

Format: 8 bytes little-endian length of the header, the header as JSON (padded with spaces so that
the data begin at a multiple of 8), the tensors' bytes in the header's order without gaps
(https://github.com/huggingface/safetensors, "Format"). The `safetensors` library reads our files.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.errors import CheckpointCorrupt, NotEncodable
from unbroken.state.digest import host_bytes
from unbroken.state.dtypes import DTYPES, dtype_name

MAX_HEADER_BYTES = 100_000_000
"""The safetensors library's own limit; a longer header is hostile or damaged."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors to a new file and fsync it.

    Args:
        path: A file that does not exist.
        tensors: The tensors by leaf path; of any device, written in row-major order.
    """
    if sys.byteorder != "little":
        raise NotEncodable(
            "This machine is big-endian.",
            "The safetensors format is little-endian, and bytes are written as they lie.",
            "Train on a little-endian machine.",
        )
    disk.write_new_file(path, _chunks(tensors))


def _chunks(tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes | memoryview]:
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": dtype_name(tensor, name),
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text))
    yield text
    for tensor in tensors.values():
        yield host_bytes(tensor)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a file into fresh memory.

    Raises:
        CheckpointCorrupt: The file isn't whole, or its header isn't one that we would write.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        header, start = _header(path, file.read(8), size, file.read)
        tensors = {}
        expected = 0
        for name, entry in header.items():
            dtype, shape, begin, end = _entry(path, name, entry)
            numel = math.prod(shape)
            if begin != expected or end - begin != numel * dtype.itemsize or start + end > size:
                raise _damaged(path, f"{name} claims bytes {begin} to {end}")
            expected = end
            raw = torch.empty(end - begin, dtype=torch.uint8)
            if end > begin and file.readinto(raw.numpy().data) != end - begin:
                raise _damaged(path, f"it ends inside {name}")
            try:
                tensors[name] = (raw.view(dtype) if numel else raw.to(dtype)).reshape(shape)
            except (RuntimeError, TypeError) as error:  # more or larger dimensions than torch knows
                raise _damaged(path, f"{name} claims the shape {shape[:8]}") from error
        if start + expected != size:
            raise _damaged(path, f"it has {size} bytes, its header speaks of {start + expected}")
    return tensors


def _header(path: Path, first: bytes, size: int, read: Any) -> tuple[dict[str, Any], int]:
    if len(first) != 8:
        raise _damaged(path, f"it has {size} bytes")
    (length,) = struct.unpack("<Q", first)
    if length > min(size - 8, MAX_HEADER_BYTES):
        raise _damaged(path, f"its header claims {length} bytes")
    try:
        header = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not an object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _entry(path: Path, name: str, entry: Any) -> tuple[torch.dtype, list[int], int, int]:
    try:
        dtype = DTYPES[entry["dtype"]]
        shape = entry["shape"]
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the entry of {name} is {entry!r}") from error
    numbers = [*shape, begin, end] if isinstance(shape, list) else [None]
    if any(type(each) is not int or each < 0 for each in numbers):
        raise _damaged(path, f"the entry of {name} is {entry!r}")
    return dtype, shape, begin, end


def _damaged(path: Path, what: str) -> CheckpointCorrupt:
    return CheckpointCorrupt(
        f"{path} is damaged: {what}.",
        "Its tensors are not the ones that were saved.",
        "Resume from another checkpoint.",
    )
