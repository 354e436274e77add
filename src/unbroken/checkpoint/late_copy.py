"""Copies that are made beside the next forward pass, of tensors that only an update changes.

A fence stands before the update: it lets nobody through until the copies are made. Should something
else write to such a tensor meanwhile, the copy would be of no instant. PyTorch counts the writes to a
tensor, and those that go past its count (through `.data`) are found by some entries that were kept
when the save began; only one that misses all of them would stay unseen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from unbroken.errors import SaveFailed
from unbroken.state.digest import ByteArray, byte_array

if TYPE_CHECKING:
    import torch

ENTRIES = 64
"""Entries of each tensor that are kept."""

_PLACES = np.arange(1, ENTRIES + 1) * ((5**0.5 - 1) / 2) % 1
"""Where they lie, from 0 to 1. Steps of the golden ratio are spread evenly, and over the columns of a
matrix too."""


class LateTensor:
    """A tensor that is copied later.

    Args:
        leaf: Its leaf path.
        live: In host memory and contiguous.
        target: (bytes,) where it goes.
    """

    def __init__(self, leaf: str, live: torch.Tensor, target: ByteArray) -> None:
        self.leaf = leaf
        self.live = live
        self.source = byte_array(live)
        self.target = target
        self.version = live._version  # noqa: SLF001  # torch has no other name for it
        self.entries = self._some(self.source)

    def _some(self, content: ByteArray) -> bytes:
        entries = content.reshape(-1, self.live.element_size())
        return entries[(_PLACES * len(entries)).astype(np.int64)].tobytes()

    def copy(self) -> None:
        """Copy it."""
        np.copyto(self.target, self.source)

    @property
    def is_of_one_instant(self) -> bool:
        """Whether nothing wrote to it between the save and the end of its copy."""
        unwritten = self.live._version == self.version  # noqa: SLF001  # as above
        return unwritten and self._some(self.target) == self.entries


class LateCopy:
    """The tensors of one save that are copied while training goes on.

    Args:
        tensors: The live ones by leaf path, contiguous, in host memory, none of them empty.
        place: Says where the bytes of a leaf go.
    """

    def __init__(
        self, tensors: Mapping[str, torch.Tensor], place: Callable[[str], ByteArray]
    ) -> None:
        self._tensors = [LateTensor(leaf, each, place(leaf)) for leaf, each in tensors.items()]
        self._made = threading.Event()
        if not tensors:
            self._made.set()

    def make(self) -> None:
        """Copy them all, then let updates through.

        Raises:
            SaveFailed: Something wrote to one of them meanwhile.
        """
        try:
            for each in self._tensors:
                each.copy()
            torn = [each.leaf for each in self._tensors if not each.is_of_one_instant]
        finally:
            self._made.set()
            self._tensors.clear()  # the model may have others by now
        if torn:
            raise SaveFailed(
                f"{torn[0]} was changed while it was copied beside the forward pass.",
                "The checkpoint would be of no instant, and was not made visible; the copies of "
                "the next ones are complete before training goes on.",
                "Let nothing but the optimisers change parameters between a save and the next "
                "update, or leave out overlap=True.",
            )

    def fence(self) -> float:
        """Wait until the copies are made; return the seconds that took."""
        if self._made.is_set():
            return 0.0
        began = time.monotonic()
        self._made.wait()
        return time.monotonic() - began
