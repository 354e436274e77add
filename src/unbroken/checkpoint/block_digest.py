"""Digests of consecutive segments of a file, read once, in blocks.

The blocks go into page-aligned memory that is used again and again: fresh memory for each of them
costs more than the reading, and direct reads demand whole pages.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO

import xxhash

BLOCK = 4 << 20
"""Bytes of one read; a multiple of every page size in use, and small enough for a core's cache."""


def segment_digests(
    files: Sequence[FileIO], sizes: Sequence[int], moved: Callable[[int], None] = lambda _n: None
) -> list[str]:
    """Return the XXH3-128 of each segment of a file; the first one begins where the file does.

    Args:
        files: The file, opened without a buffer: once, or once for each thread that shall read the
            next blocks while one is digested.
        sizes: Bytes of each segment, in the file's order; if the file ends before them, those that
            are there are digested.
        moved: Told of the bytes digested since it was last told.

    Raises:
        OSError: It can't be read.
    """
    total = sum(sizes)
    found: list[str] = []
    segment, left = xxhash.xxh3_128(), sizes[0] if sizes else 0
    for block in _blocks(files, total) if len(files) == 1 else _blocks_ahead(files, total):
        at = 0
        while at < len(block):
            while left == 0:
                found.append(segment.hexdigest())
                segment, left = xxhash.xxh3_128(), sizes[len(found)]
            piece = block[at : at + left]
            segment.update(piece)
            at, left = at + len(piece), left - len(piece)
        moved(len(block))
    while len(found) < len(sizes):
        found.append(segment.hexdigest())
        segment = xxhash.xxh3_128()
    return found


def _blocks(files: Sequence[FileIO], size: int) -> Iterator[memoryview]:
    """Yield the first bytes of a file, a block at a time in the same memory."""
    (buffer,) = _buffers(1, size)
    for begin in range(0, size, BLOCK):
        yield buffer[: _fill(files[0], begin, buffer, min(BLOCK, size - begin))]


def _blocks_ahead(files: Sequence[FileIO], size: int) -> Iterator[memoryview]:
    """Yield the first bytes of a file, a block at a time, while threads read the next ones."""
    blocks = -(-size // BLOCK)
    ahead = min(len(files), blocks)
    # One buffer more than there are reads on their way: the one that is looked at.
    buffers = _buffers(min(ahead + 1, blocks), size)

    def read(number: int) -> int:
        wanted = min(BLOCK, size - number * BLOCK)
        return _fill(files[number % ahead], number * BLOCK, buffers[number % len(buffers)], wanted)

    with ThreadPoolExecutor(max(ahead, 1), thread_name_prefix="unbroken-read") as readers:
        pending: deque[Future[int]] = deque(readers.submit(read, n) for n in range(ahead))
        for number in range(blocks):
            count = pending.popleft().result()
            if number + ahead < blocks:
                pending.append(readers.submit(read, number + ahead))
            yield buffers[number % len(buffers)][:count]


def _buffers(count: int, size: int) -> list[memoryview]:
    """Return so much memory for blocks of a file of `size` bytes, each beginning at a page."""
    length = min(BLOCK, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE)
    return [memoryview(mmap.mmap(-1, length)) for _ in range(count)]


def _fill(file: FileIO, begin: int, buffer: memoryview, wanted: int) -> int:
    """Read from a place of the file until enough is there or it ends; return how much it is."""
    file.seek(begin)
    done = 0
    # The rest of the last page is asked for as well: direct reads know only whole pages.
    while done < wanted and (count := file.readinto(buffer[done:])):
        done += count
    return min(done, wanted)
