"""Caches array facts on disk between starts, by path; a damaged cache is ignored.

File: magic line, xxh3-128 of the rest, three 8-byte sizes (rows, bytes of the paths, bytes of a
row), the paths joined by NUL, the rows of `FACTS`. Nothing is unpickled or evaluated.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

from unbroken import atomic_write
from unbroken_tts.data.array_facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

_MAGIC = b"unbroken array facts 1\n"
_SIZES = struct.Struct("<QQQ")


@dataclass(slots=True, kw_only=True, eq=False)
class FactsCache:
    """Facts of arrays by path, as read from and written to one file."""

    file: Path
    """File of the facts; it needn't exist."""
    rows: dict[str, int] = field(default_factory=dict)
    """Row of `facts` for each path, in the order of the rows."""
    facts: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=FACTS))
    """(N,) of `FACTS`."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the facts; from a missing, damaged or foreign file, none."""
        try:
            content = file.read_bytes()
        except OSError:
            return cls(file=file)
        start = len(_MAGIC) + 16
        body = memoryview(content)[start:]
        if content[: len(_MAGIC)] != _MAGIC or len(body) < _SIZES.size:
            return cls(file=file)
        if xxhash.xxh3_128_digest(body) != content[len(_MAGIC) : start]:
            return cls(file=file)
        count, path_bytes, row_bytes = _SIZES.unpack_from(body)
        if row_bytes != FACTS.itemsize:
            return cls(file=file)
        joined = bytes(body[_SIZES.size : _SIZES.size + path_bytes])
        paths = os.fsdecode(joined).split("\0") if count else []
        facts = np.frombuffer(body, dtype=FACTS, count=count, offset=_SIZES.size + path_bytes)
        return cls(file=file, rows=dict(zip(paths, range(count), strict=True)), facts=facts)

    def look_up(self, paths: Sequence[str]) -> npt.NDArray[Any]:
        """Return the facts of `paths`, in their order; zeros (type 0) where there are none."""
        found = np.zeros(len(paths), dtype=FACTS)
        if not self.rows:
            return found
        rows = np.fromiter((self.rows.get(path, -1) for path in paths), np.int64, len(paths))
        known = rows >= 0
        found[known] = self.facts[rows[known]]
        return found

    def remember(self, paths: Sequence[str], facts: npt.NDArray[Any]) -> None:
        """Replace the known facts of `paths`."""
        kept = self.rows.copy()
        for path in paths:
            kept.pop(path, None)
        old = np.fromiter(kept.values(), np.int64, len(kept))
        self.facts = np.concatenate([self.facts[old], facts])
        self.rows = {path: row for row, path in enumerate([*kept, *paths])}

    def write(self) -> str | None:
        """Write the facts to a temporary file and rename it; return a note if that fails.

        Without fsync: a file torn by a power cut is recognised by its digest.
        """
        paths = os.fsencode("\0".join(self.rows))
        sizes = _SIZES.pack(len(self.rows), len(paths), FACTS.itemsize)
        body = b"".join((sizes, paths, self.facts.tobytes()))
        try:
            with atomic_write(self.file, durable=False) as aside:
                aside.write_bytes(b"".join((_MAGIC, xxhash.xxh3_128_digest(body), body)))
        except OSError as error:
            return (
                f"The results about the arrays can't be cached in {self.file} ({error}); "
                "the next start reads all arrays again."
            )
        return None
