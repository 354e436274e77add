"""Digests of files read in blocks: the next blocks are read while one is digested.

The blocks go into page-aligned memory that is used again and again: fresh memory for each of them
costs more than the reading, and direct reads demand whole pages.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO

import xxhash

BLOCK = 4 << 20
"""Bytes of one read; a multiple of every page size in use, and small enough for a core's cache."""


def block_digest(
    files: Sequence[FileIO], size: int, moved: Callable[[int], None] = lambda _n: None
) -> str:
    """Return the XXH3-128 of the first bytes of a file.

    Args:
        files: The file, opened once for each thread that shall read, without a buffer.
        size: How many bytes; if the file ends before them, those that are there are digested.
        moved: Told of the bytes digested since it was last told.

    Raises:
        OSError: It can't be read.
    """
    whole = xxhash.xxh3_128()
    blocks = -(-size // BLOCK)
    length = min(BLOCK, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE)
    ahead = min(len(files), blocks)
    # One buffer more than there are reads on their way: the one that is digested.
    buffers = [memoryview(mmap.mmap(-1, length)) for _ in range(min(ahead + 1, blocks))]

    def read(number: int) -> int:
        wanted = min(BLOCK, size - number * BLOCK)
        return _fill(files[number % ahead], number * BLOCK, buffers[number % len(buffers)], wanted)

    with ThreadPoolExecutor(max(ahead, 1), thread_name_prefix="unbroken-read") as readers:
        pending: deque[Future[int]] = deque(readers.submit(read, n) for n in range(ahead))
        for number in range(blocks):
            count = pending.popleft().result()
            if number + ahead < blocks:
                pending.append(readers.submit(read, number + ahead))
            whole.update(buffers[number % len(buffers)][:count])
            moved(count)
    return whole.hexdigest()


def _fill(file: FileIO, begin: int, buffer: memoryview, wanted: int) -> int:
    """Read from a place of the file until enough is there or it ends; return how much it is."""
    file.seek(begin)
    done = 0
    # The rest of the last page is asked for as well: direct reads know only whole pages.
    while done < wanted and (count := file.readinto(buffer[done:])):
        done += count
    return min(done, wanted)
