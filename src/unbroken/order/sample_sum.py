"""A sum over the names of samples that tells which were used, in whatever order and however cut.

The sum of the BLAKE2b-128 of each name, modulo 2^128: the sums of an epoch's steps add up to that of the
epoch's list exactly if each sample of the list was used as often as it stands there, as far as chance is
concerned. Against somebody who makes up names to that end it proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

MODULUS: Final = 1 << 128
_BLOCK: Final = 1 << 16
_DIGITS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")


def sample_sum(names: Iterable[str]) -> int:
    """Return the sum over the names of samples; each counts as often as it is given."""
    blake2b, number = hashlib.blake2b, int.from_bytes
    return (
        sum(
            number(blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest())
            for each in names
        )
        % MODULUS
    )


class SampleCount(NamedTuple):
    """What a list of samples holds."""

    samples: int
    distinct: int
    """How many of them differ."""
    sum: int


def count_samples(names: Iterable[str]) -> SampleCount:
    """Count a whole list of samples, with 8 bytes of memory for each.

    That two names have the same 64 bits, and count as one, has a chance of 1 to 4 million among 3 million.
    """
    waiting, keys, total = iter(names), [np.empty(0, np.uint64)], 0
    while block := list(islice(waiting, _BLOCK)):
        digests = b"".join(
            hashlib.blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for each in block
        )
        columns = np.frombuffer(digests, ">u4").reshape(-1, 4).sum(0, dtype=np.uint64)
        total += sum(int(each) << (96 - 32 * i) for i, each in enumerate(columns))
        keys.append(np.frombuffer(digests, np.uint64)[::2].copy())
    every = np.concatenate(keys)
    return SampleCount(len(every), len(np.unique(every)), total % MODULUS)


def sum_text(value: int) -> str:
    """Return a sum as the journal has it: 32 digits in hex."""
    return f"{value:032x}"


def sum_of_text(text: object) -> int | None:
    """Return a sum as a number; None for what is none."""
    if not isinstance(text, str) or len(text) != _DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)
