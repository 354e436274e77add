"""The bytes of a tensor file in host memory, laid out as they will lie on the disk.

The memory is allocated once, its pages are touched once, and it is used again by every save: on
many machines the first touch of a page costs far more than the copy. It begins at a page, so that
it can be written past the system's cache; on a machine with a CUDA device it is page-locked.
"""

from __future__ import annotations

import json
import logging
import mmap
import struct
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch

from unbroken.checkpoint.late_copy import LateCopy
from unbroken.checkpoint.segment import Segment
from unbroken.errors import NotEncodable
from unbroken.state.digest import ByteArray, byte_array, byte_view, bytes_digest
from unbroken.state.dtypes import dtype_name

PAGE = mmap.PAGESIZE

_log = logging.getLogger("unbroken")

COPY_BLOCK = 8 << 20
"""Bytes that a thread copies before it looks for more."""


def header_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the header of a safetensors file: its length, then the JSON, padded to 8 bytes.

    Source of the format: https://github.com/huggingface/safetensors, "Format".

    Raises:
        NotEncodable: A dtype that the format doesn't know, or a big-endian machine.
    """
    if sys.byteorder != "little":
        raise NotEncodable(
            "This machine is big-endian.",
            "The safetensors format is little-endian, and bytes are written in memory order.",
            "Train on a little-endian machine.",
        )
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
    return struct.pack("<Q", len(text)) + text


_Piece: TypeAlias = tuple[ByteArray, ByteArray]
"""Where to copy, and what."""


class FileImage:
    """One tensor file as it will lie on the disk.

    Args:
        tensors: What it is for, by leaf path; later captures must have the same names, dtypes and
            shapes. Nothing is captured yet.
        pinned: Page-lock the memory, for copies from a CUDA device.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, pinned: bool = False) -> None:
        header = header_bytes(tensors)
        self.structure = _structure(tensors)
        self.places: dict[str, tuple[int, int]] = {}
        """Begin and end of each leaf's bytes in the file."""
        end = len(header)
        for name, tensor in tensors.items():
            begin, end = end, end + tensor.numel() * tensor.element_size()
            self.places[name] = (begin, end)
        self.size = end
        """Bytes of the file."""
        self._memory = _allocate(-(-max(end, 1) // PAGE) * PAGE, pinned=pinned)
        self._memory[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        self._pinned = pinned

    def fits(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Say whether these tensors have the names, dtypes and shapes this image is for."""
        return self.structure == _structure(tensors)

    def capture(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors in, all or some of them; complete when it returns."""
        pieces: list[_Piece] = []
        for name, tensor in tensors.items():
            begin, end = self.places[name]
            if begin == end:
                continue
            target = self._memory[begin:end]
            if tensor.is_cuda:
                target.copy_(byte_view(tensor), non_blocking=self._pinned)
                continue
            source = byte_array(tensor.to("cpu"))
            if source.ctypes.data == tensor.data_ptr():
                pieces += _pieces(target.numpy(), source)
            else:  # a copy in row-major order already: not kept while the others are made
                np.copyto(target.numpy(), source)
        _copy(pieces)
        if any(tensor.is_cuda for tensor in tensors.values()):
            torch.cuda.synchronize()

    def digests(self) -> list[Segment]:
        """Return the header and each leaf, in the file's order, with the digests of their bytes."""
        content = self.content()
        head = min((begin for begin, _ in self.places.values()), default=self.size)
        places: list[tuple[str | None, tuple[int, int]]] = [
            (None, (0, head)),
            *self.places.items(),  # without gaps, in the file's order
        ]
        return [
            Segment(
                leaf=leaf,
                begin=begin,
                size=end - begin,
                digest=bytes_digest(content[begin:end]),
            )
            for leaf, (begin, end) in places
        ]

    def place(self, name: str) -> ByteArray:
        """Return where the bytes of a leaf are, or go, as (bytes,) uint8."""
        begin, end = self.places[name]
        return self._memory[begin:end].numpy()

    def leaf(self, name: str) -> memoryview:
        """Return the captured bytes of a leaf."""
        return self.place(name).data

    def content(self) -> memoryview:
        """Return the bytes of the file; they begin at a page."""
        return self.padded()[: self.size]

    def padded(self) -> memoryview:
        """Return the bytes of the file and of the rest of its last page."""
        return memoryview(self._memory.numpy().data)


def _structure(tensors: Mapping[str, torch.Tensor]) -> list[tuple[str, torch.dtype, torch.Size]]:
    return [(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()]


def _allocate(size: int, *, pinned: bool) -> torch.Tensor:
    memory = None
    if pinned:
        try:
            memory = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:  # how much may be page-locked is limited on many machines
            _log.warning("No page-locked memory for %d bytes (%s): saves copy slower.", size, error)
    if memory is None:
        memory = torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
    return memory.zero_()  # touches every page


def _pieces(target: ByteArray, source: ByteArray) -> list[_Piece]:
    starts = range(0, len(source), COPY_BLOCK)
    return [(target[at : at + COPY_BLOCK], source[at : at + COPY_BLOCK]) for at in starts]


def _copy(pieces: list[_Piece]) -> None:
    """Copy by two threads, each taking the next piece when it is done with one.

    One thread does not use up what the memory can give, and the training stands still meanwhile.
    Where another program has the second core, the first thread does its share as well.
    """
    left = iter(pieces)

    def take() -> None:
        for target, source in left:
            np.copyto(target, source)

    with ThreadPoolExecutor(1, thread_name_prefix="unbroken-copy") as other:
        second = other.submit(take)
        take()
        second.result()


class HostCopy:
    """The images of all tensor files of a run, kept from save to save."""

    def __init__(self) -> None:
        self.images: dict[str, FileImage] = {}

    def allocate(self, files: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Make an image for the tensors of each file that has none that fits."""
        for name, tensors in files.items():
            if name not in self.images or not self.images[name].fits(tensors):
                self.images.pop(name, None)  # freed before its successor is allocated
                pinned = any(tensor.is_cuda for tensor in tensors.values())
                self.images[name] = FileImage(tensors, pinned=pinned)
        for name in self.images.keys() - files.keys():
            del self.images[name]

    def capture(
        self, files: Mapping[str, Mapping[str, torch.Tensor]], late: Collection[str] = ()
    ) -> tuple[dict[str, FileImage], LateCopy]:
        """Copy the tensors of each file into its image.

        Args:
            files: The live tensors by file name and leaf path.
            late: Leaves that may be copied later. What is on a card, not contiguous, empty, or in
                one memory with a leaf that is not among them is copied at once all the same.

        Returns:
            The images by file name, and the copies that are still to be made.
        """
        self.allocate(files)
        others = {
            each.untyped_storage().data_ptr()
            for tensors in files.values()
            for n, each in tensors.items()
            if n not in late
        }

        def waits(leaf: str, tensor: torch.Tensor) -> bool:
            shared = tensor.untyped_storage().data_ptr() in others  # what writes there writes here
            return leaf in late and not shared and _can_wait(tensor)

        later: dict[str, torch.Tensor] = {}
        places: dict[str, FileImage] = {}
        for name, tensors in files.items():
            image = self.images[name]
            own = {n: each for n, each in tensors.items() if waits(n, each)}
            image.capture({n: each for n, each in tensors.items() if n not in own})
            later |= own
            places |= dict.fromkeys(own, image)
        return dict(self.images), LateCopy(later, lambda leaf: places[leaf].place(leaf))


def _can_wait(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel() > 0
