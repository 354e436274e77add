"""The fingerprint of a data set, over ids, lengths and array digests, never over paths."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from unbroken_tts.data.pairs import Pairs

FINGERPRINT_SCHEME = 1
"""Number of the scheme. A scheme never changes, since runs record their fingerprints."""


def data_fingerprint(pairs: Pairs) -> str:
    """Return the BLAKE2b-128 hex fingerprint of checked samples, in their order.

    Scheme 1 digests, in this order: the ASCII text `unbroken data 1` and a line feed, the number of samples,
    the byte length of the joined ids, the ids in UTF-8 joined by newlines, all text lengths, all
    code lengths, and each sample's four 16-byte array digests (text, codes, conditioning,
    emotion); numbers are little-endian int64.

    Args:
        pairs: Samples whose `digests` the preflight has filled.
    """
    assert pairs.digests is not None
    ids = "\n".join(pairs.ids).encode("utf-8")
    hasher = hashlib.blake2b(
        f"unbroken data {FINGERPRINT_SCHEME}\n".encode("ascii"), digest_size=16
    )
    hasher.update(np.array([len(pairs), len(ids)], dtype="<i8").tobytes())
    hasher.update(ids)
    hasher.update(pairs.text_lengths.astype("<i8").tobytes())
    hasher.update(pairs.code_lengths.astype("<i8").tobytes())
    hasher.update(np.ascontiguousarray(pairs.digests).tobytes())
    return hasher.hexdigest()
