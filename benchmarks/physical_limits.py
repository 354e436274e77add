"""What the machine can do at best: copy memory, write past the cache and fsync, read past it."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import numpy as np

BLOCK = 8 << 20
BUFFER = 256 << 20
_DIRECT: int = getattr(os, "O_DIRECT", 0)


class PhysicalLimits:
    """Measures on memory that was touched before.

    Args:
        size: Bytes of the state; rounded up to whole blocks of 8 MiB.
        directory: Where to write.
    """

    def __init__(self, size: int, directory: Path) -> None:
        self.size = -(-size // BLOCK) * BLOCK
        self._file = directory / "limit"
        self._memory, self._other = mmap.mmap(-1, BUFFER), mmap.mmap(-1, BUFFER)
        self._from, self._to = (np.frombuffer(m, np.uint8) for m in (self._memory, self._other))
        self._from[:] = 1
        self._to[:] = 2

    def copy(self) -> float:
        """Return the seconds of copying the state in memory with one thread."""
        began = time.perf_counter()
        for start in range(0, self.size, BUFFER):
            count = min(BUFFER, self.size - start)
            np.copyto(self._to[:count], self._from[:count])
        return time.perf_counter() - began

    def write(self) -> float:
        """Return the seconds of writing the state past the cache, and fsync."""
        self._file.unlink(missing_ok=True)
        began = time.perf_counter()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | _DIRECT, 0o644)
        with memoryview(self._memory) as whole:
            for start in range(0, self.size, BLOCK):
                place = start % BUFFER
                with whole[place : place + BLOCK] as block:
                    os.write(descriptor, block)
        os.fsync(descriptor)
        os.close(descriptor)
        return time.perf_counter() - began

    def read(self) -> float:
        """Return the seconds of reading it past the cache."""
        began = time.perf_counter()
        descriptor = os.open(self._file, os.O_RDONLY | _DIRECT)
        with (
            os.fdopen(descriptor, "rb", buffering=0) as file,
            memoryview(self._memory) as whole,
            whole[:BLOCK] as block,
        ):
            while file.readinto(block):
                pass
        return time.perf_counter() - began
