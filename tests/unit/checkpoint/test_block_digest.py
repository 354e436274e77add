"""Digests of segments are those of their bytes, whatever the sizes, the blocks and the readers."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Thread

import pytest
import xxhash

from unbroken.checkpoint.block_digest import BLOCK, segment_digests
from unbroken.checkpoint.device_read import device_digests

SIZES = [0, 1, 4095, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 4097]


def written(path: Path, size: int) -> bytes:
    content = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    path.write_bytes(content)
    return content


def digests_of(path: Path, sizes: list[int], readers: int, told: list[int]) -> list[str]:
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb", buffering=0)) for _ in range(readers)]
        return segment_digests(files, sizes, told.append)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("readers", [1, 2, 3])
def test_the_digest_is_that_of_the_bytes(tmp_path: Path, size: int, readers: int) -> None:
    """Every size around the borders of blocks, read by one thread or several."""
    content = written(tmp_path / "file", size)
    told: list[int] = []
    assert [xxhash.xxh3_128_hexdigest(content)] == digests_of(
        tmp_path / "file", [size], readers, told
    )
    assert size == sum(told)


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [0, 0, 5, 0],
        [BLOCK, BLOCK],
        [1, BLOCK - 1, 0, BLOCK + 1, 0],
        [7, 3 * BLOCK, 5, 0, 0, 9],
        [1] * 300 + [BLOCK] + [3] * 300,
    ],
)
@pytest.mark.parametrize("readers", [1, 2])
def test_each_segment_has_its_own(tmp_path: Path, sizes: list[int], readers: int) -> None:
    """Empty ones, small ones, and ones that begin in one block and end in a later one."""
    content = written(tmp_path / "file", sum(sizes))
    ends = list(accumulate(sizes, initial=0))
    expected = [xxhash.xxh3_128_hexdigest(content[a:b]) for a, b in pairwise(ends)]
    told: list[int] = []
    assert expected == digests_of(tmp_path / "file", sizes, readers, told)
    assert sum(sizes) == sum(told)
    assert expected == device_digests(tmp_path / "file", sizes)[0]


def test_one_reader_needs_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read back while training goes on is read and digested by the thread that asks."""
    written(tmp_path / "file", 3 * BLOCK)
    monkeypatch.setattr(Thread, "start", lambda thread: pytest.fail(f"{thread} was started"))
    assert 1 == len(digests_of(tmp_path / "file", [3 * BLOCK], 1, []))


@pytest.mark.parametrize("size", SIZES)
def test_the_device_gives_the_same(tmp_path: Path, size: int) -> None:
    """What is read past the cache, in whole pages, ends where the file ends."""
    content = written(tmp_path / "file", size)
    expected = [xxhash.xxh3_128_hexdigest(content)]
    assert expected == device_digests(tmp_path / "file", [size])[0]


@pytest.mark.parametrize("readers", [1, 2])
def test_only_so_many_bytes_count(tmp_path: Path, readers: int) -> None:
    """A file that goes on is read no further; one that ends early has the digest of what is there."""
    content = written(tmp_path / "file", 2 * BLOCK + 100)
    for size in (BLOCK + 5, 4 * BLOCK):
        expected = [xxhash.xxh3_128_hexdigest(content[:size])]
        assert expected == digests_of(tmp_path / "file", [size], readers, [])
