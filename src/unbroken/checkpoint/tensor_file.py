"""Tensors in the safetensors format, written by us so that digests are made on the way.

Format: 8 bytes little-endian length of the header, the header as JSON (padded with spaces so that
the data begin at a multiple of 8), the tensors' bytes in the header's order without gaps
(https://github.com/huggingface/safetensors, "Format"). The `safetensors` library reads our files.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.file_image import header_bytes
from unbroken.errors import CheckpointCorrupt
from unbroken.state.digest import byte_array, host_bytes
from unbroken.state.dtypes import DTYPES, byte_count
from unbroken.state.stored import Stored

MAX_HEADER_BYTES = 100_000_000
"""The safetensors library's own limit; a longer header is hostile or damaged."""


SHARED_READ = 4 << 20
"""Bytes from which on two threads read a tensor: the copy out of the cache is what takes the time."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors to a new file and fsync it.

    Args:
        path: A file that does not exist.
        tensors: The tensors by leaf path; of any device, written in row-major order.
    """
    parts = (host_bytes(tensor) for tensor in tensors.values())
    disk.write_new_file(path, chain([header_bytes(tensors)], parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor(Stored):
    """A tensor in a file, read when it is wanted, straight to where it belongs."""

    path: Path
    begin: int
    """First byte in the file."""
    dtype: torch.dtype
    shape: torch.Size
    device: str | None = None

    def read(self) -> torch.Tensor:
        """Return it in fresh host memory.

        Raises:
            CheckpointCorrupt: The file ends inside it.
        """
        tensor = torch.empty(self.shape, dtype=self.dtype)
        self.read_into(tensor)
        return tensor

    def read_into(self, live: torch.Tensor) -> None:
        """Read it into the storage of a live tensor of the same shape and dtype.

        A tensor that is not contiguous host memory is filled from a copy: one tensor at a time.
        """
        if live.device.type != "cpu" or not live.is_contiguous():
            live.copy_(self.read())
            return
        if live.numel() == 0:
            return
        self._fill(live, self.begin)

    def read_flat(self, start: int, count: int) -> torch.Tensor:
        """Return at most `count` elements from number `start` on, in row-major order.

        Raises:
            CheckpointCorrupt: The file ends inside it.
        """
        block = torch.empty(min(count, math.prod(self.shape) - start), dtype=self.dtype)
        self._fill(block, self.begin + start * self.dtype.itemsize)
        return block

    def _fill(self, live: torch.Tensor, begin: int) -> None:
        target = byte_array(live)
        if target.nbytes < SHARED_READ:
            self._read_bytes(target.data, begin)
            return
        half = target.nbytes // 2
        with ThreadPoolExecutor(1, thread_name_prefix="unbroken-read") as other:
            second = other.submit(self._read_bytes, target[half:].data, begin + half)
            self._read_bytes(target[:half].data, begin)
            second.result()

    def _read_bytes(self, target: memoryview, begin: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            file.seek(begin)
            done = 0
            while done < len(target):
                count = file.readinto(target[done:])
                if not count:
                    raise _damaged(self.path, "it ends inside a tensor")
                done += count


def open_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read a file's header; the tensors stay on the disk until they are wanted.

    Raises:
        CheckpointCorrupt: The file isn't whole, or its header isn't one that we would write.
    """
    if not path.is_file():  # a pipe would never end
        raise _damaged(path, "it is missing or not a regular file")
    with path.open("rb") as file:
        size = path.stat().st_size
        header, start = _header(path, file.read(8), size, file.read)
    tensors = {}
    expected = 0
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(path, name, entry)
        if begin != expected or end - begin != byte_count(shape, dtype):
            raise _damaged(path, f"{name} claims bytes {begin} to {end}")
        expected = end
        tensors[name] = StoredTensor(
            path=path, begin=start + begin, dtype=dtype, shape=_size(path, name, shape)
        )
    if start + expected != size:
        raise _damaged(path, f"it has {size} bytes, its header describes {start + expected}")
    return tensors


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a file into fresh memory.

    Raises:
        CheckpointCorrupt: The file isn't whole, or its header isn't one that we would write.
    """
    return {name: each.read() for name, each in open_tensors(path).items()}


def _size(path: Path, name: str, shape: list[int]) -> torch.Size:
    try:
        return torch.empty(shape, device="meta").shape
    except (RuntimeError, TypeError) as error:  # more or larger dimensions than torch knows
        raise _damaged(path, f"{name} claims the shape {shape[:8]}") from error


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
