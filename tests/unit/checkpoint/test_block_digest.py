"""Digests of files in blocks are those of the whole bytes, whatever the size and the readers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import xxhash

from unbroken.checkpoint.block_digest import BLOCK, block_digest
from unbroken.checkpoint.device_read import device_digest

SIZES = [0, 1, 4095, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 4097]


def written(path: Path, size: int) -> bytes:
    content = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    path.write_bytes(content)
    return content


def digest_of(path: Path, size: int, readers: int, told: list[int]) -> str:
    with ExitStack() as opened:
        files = [opened.enter_context(path.open("rb", buffering=0)) for _ in range(readers)]
        return block_digest(files, size, told.append)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("readers", [1, 2, 3])
def test_the_digest_is_that_of_the_bytes(tmp_path: Path, size: int, readers: int) -> None:
    """Every size around the borders of blocks, read by one thread or several."""
    content = written(tmp_path / "file", size)
    told: list[int] = []
    assert xxhash.xxh3_128_hexdigest(content) == digest_of(tmp_path / "file", size, readers, told)
    assert size == sum(told)


@pytest.mark.parametrize("size", SIZES)
def test_the_device_gives_the_same(tmp_path: Path, size: int) -> None:
    """What is read past the cache, in whole pages, ends where the file ends."""
    content = written(tmp_path / "file", size)
    assert xxhash.xxh3_128_hexdigest(content) == device_digest(tmp_path / "file")[0]


@pytest.mark.parametrize("readers", [1, 2])
def test_only_so_many_bytes_count(tmp_path: Path, readers: int) -> None:
    """A file that goes on is read no further; one that ends early has the digest of what is there."""
    content = written(tmp_path / "file", 2 * BLOCK + 100)
    for size in (BLOCK + 5, 4 * BLOCK):
        expected = xxhash.xxh3_128_hexdigest(content[:size])
        assert expected == digest_of(tmp_path / "file", size, readers, [])
