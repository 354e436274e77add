"""A sum over the names of samples that tells which were used, in whatever order and however cut.

The sum of the BLAKE2b-128 of each name, modulo 2^128: the sums of an epoch's steps add up to that of the
epoch's list exactly if each sample of the list was used as often as it stands there, as far as chance is
concerned. Against somebody who makes up names to that end it proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

MODULUS: Final = 1 << 128
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


def sum_text(value: int) -> str:
    """Return a sum as the journal has it: 32 digits in hex."""
    return f"{value:032x}"


def sum_of_text(text: object) -> int | None:
    """Return a sum as a number; None for what is none."""
    if not isinstance(text, str) or len(text) != _DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)
