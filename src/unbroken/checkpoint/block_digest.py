"""Computes digests of consecutive segments of a file, reading it once, in blocks.

The blocks are read into page-aligned memory that is reused: allocating memory for each block would
take longer than reading it, and direct reads need whole pages.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate, groupby
from threading import Lock

import xxhash

PAGE = mmap.PAGESIZE

BLOCK = 4 << 20
"""Bytes per read: a multiple of every page size in use, and small enough for a core's cache."""


READERS = 2
"""Threads that read a large file; one alone doesn't saturate a device or the system's cache."""


def segment_digests(
    files: Sequence[FileIO], sizes: Sequence[int], moved: Callable[[int], None] = lambda _n: None
) -> list[str]:
    """Return the XXH3-128 of each segment of a file; the first one begins at the start of the file.

    Args:
        files: The file, opened without a buffer, once for each thread. Each thread takes a run of
            segments, so that one reads while another computes a digest.
        sizes: Bytes of each segment, in the file's order; if the file is shorter, the existing bytes
            are digested.
        moved: Called with the bytes digested since its last call; one thread at a time.

    Raises:
        OSError: It can't be read.
    """
    shares = _shares(sizes, len(files))
    if len(shares) < 2:
        return [each for share in shares for each in _digests(files[0], share, moved)]
    one_at_a_time = Lock()

    def tell(count: int) -> None:
        with one_at_a_time:
            moved(count)

    with ThreadPoolExecutor(len(shares), thread_name_prefix="unbroken-read") as threads:
        found = threads.map(lambda file, share: _digests(file, share, tell), files, shares)
        return [digest for each in found for digest in each]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """Consecutive segments of one thread."""

    begin: int
    """Their first byte in the file."""
    sizes: list[int]

    @property
    def end(self) -> int:
        return self.begin + sum(self.sizes)


def _shares(sizes: Sequence[int], most: int) -> list[_Share]:
    """Divide the segments into at most `most` runs of about the same number of bytes."""
    total = sum(sizes)
    placed = zip(accumulate(sizes, initial=0), sizes, strict=False)  # begin and size of each
    runs = groupby(placed, key=lambda each: min(each[0] * most // max(total, 1), most - 1))
    return [
        _Share(begin=run[0][0], sizes=[size for _, size in run])
        for run in (list(each) for _, each in runs)
    ]


def _digests(file: FileIO, share: _Share, moved: Callable[[int], None]) -> list[str]:
    found: list[str] = []
    segment, left = xxhash.xxh3_128(), share.sizes[0]
    for block in _blocks(file, share.begin, share.end):
        at = 0
        while at < len(block):
            while left == 0:
                found.append(segment.hexdigest())
                segment, left = xxhash.xxh3_128(), share.sizes[len(found)]
            piece = block[at : at + left]
            segment.update(piece)
            at, left = at + len(piece), left - len(piece)
        moved(len(block))
    while len(found) < len(share.sizes):
        found.append(segment.hexdigest())
        segment = xxhash.xxh3_128()
    return found


def _blocks(file: FileIO, begin: int, end: int) -> Iterator[memoryview]:
    """Yield the bytes of a range of a file, one block at a time, in the same memory."""
    first = begin - begin % PAGE  # direct reads begin at a page
    whole_pages = -(-max(end - first, 1) // PAGE) * PAGE
    buffer = memoryview(mmap.mmap(-1, min(BLOCK, whole_pages)))
    for at in range(first, end, BLOCK):
        yield buffer[max(begin - at, 0) : _fill(file, at, buffer, min(BLOCK, end - at))]


def _fill(file: FileIO, begin: int, buffer: memoryview, wanted: int) -> int:
    """Read from an offset until `wanted` bytes or the end of the file; return the number read."""
    file.seek(begin)
    done = 0
    # Direct reads need whole pages, so the rest of the last page is requested too.
    while done < wanted and (count := file.readinto(buffer[done:])):
        done += count
    return min(done, wanted)
