"""The state of a run's logs, recorded in each checkpoint and compared at a resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import xxhash

from unbroken.checkpoint.layout import Layout

CURVES = "events.out.tfevents.*"
MOST_CURVES = 256
"""Number of files with curves to record: the newest, by their names."""
LONGEST_LINE = 1 << 16
"""Largest length of a line in bytes; lines of the journal are much shorter."""


def logs_of(layout: Layout, noted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the state of a run's logs.

    Args:
        layout: The run's directory.
        noted: The result of this function at the save, to read the same place of the journal;
            None for its present end.

    Returns:
        `journal_bytes`, the length of the journal; `line`, a digest of the line that ends at the
        recorded length (or at its end); `step`, the step of its last line; `curves`, the sizes in
        bytes of the files with curves, by path below `logs/`.
    """
    size = _size(layout.journal)
    end = size if noted is None else min(size, int(noted.get("journal_bytes", 0)))
    last = _line_ending_at(layout.journal, size)
    line = last if end == size else _line_ending_at(layout.journal, end)
    return {
        "journal_bytes": size,
        "line": xxhash.xxh3_128_hexdigest(line),
        "step": _step(last),
        "curves": _curves(layout.logs),
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _line_ending_at(path: Path, end: int) -> bytes:
    """Return the line of a file that ends before the byte `end`; empty if there is none."""
    start = max(0, end - LONGEST_LINE)
    try:
        with path.open("rb") as file:
            file.seek(start)
            block = file.read(end - start)
    except OSError:
        return b""
    return block[block.rfind(b"\n", 0, -1) + 1 :]


def _step(line: bytes) -> int:
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        return int(json.loads(line)["step"])
    return 0


def _curves(logs: Path) -> dict[str, int]:
    try:
        found = sorted(logs.rglob(CURVES), key=lambda each: each.name)
    except OSError:
        return {}
    return {each.relative_to(logs).as_posix(): _size(each) for each in found[-MOST_CURVES:]}
