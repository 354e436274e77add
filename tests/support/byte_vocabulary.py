"""A miniature vocabulary of IndexTTS-2.5 for tests: the 256 bytes and some merges."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

MERGES: tuple[bytes, ...] = (
    b" t", b"th", b" th", b"he", b"in", b"er", b" a", b" the", b"\xe1\x88", b" \xe1\x88",
    "ሰ".encode(), "ላ".encode(), " ሰ".encode(), b"  ", "\u2581".encode(), b"<0x",
)  # fmt: skip
"""Pairs of earlier tokens, as byte pair encoding makes them."""


def tokens(merges: Sequence[bytes] = MERGES) -> list[bytes]:
    """Return the tokens by rank; as in the real file, `!` is the first and `"` the second."""
    first = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [each for each in range(256) if each not in first]
    return [*(bytes([each]) for each in (*first, *others)), *merges]


def written(all_tokens: Sequence[bytes]) -> bytes:
    """Return a `.tiktoken` file of tokens by rank."""
    lines = (
        base64.b64encode(token) + b" " + str(rank).encode() for rank, token in enumerate(all_tokens)
    )
    return b"".join(line + b"\n" for line in lines)


def write_vocabulary(path: Path, merges: Sequence[bytes] = MERGES) -> Path:
    """Write a miniature vocabulary and return its path."""
    path.write_bytes(written(tokens(merges)))
    return path
