"""Writes files atomically."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unbroken import SettingsInvalid, atomic_write

_PARTIAL = ".partial"


@contextmanager
def disk_full_is_told(directory: Path) -> Iterator[None]:
    """Turn the system's "no space left" into `SettingsInvalid`.

    Raises:
        SettingsInvalid: The disk filled up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise SettingsInvalid(
            f"The disk of {directory} is full.",
            "The features could not be written; finished recordings are kept.",
            "Free some space and run the same command again: it continues where it stopped.",
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file atomically: a reader sees the old content or the new, never a part."""
    partial = path.with_name(path.name + _PARTIAL)
    with disk_full_is_told(path.parent), atomic_write(path, partial, durable=False):
        partial.write_bytes(content)


def write_array(path: Path, array: npt.NDArray[Any]) -> int:
    """Write a `.npy` file atomically; return its size in bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_whole(path, content)
    return len(content)


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return an object as one line of JSON in UTF-8, without line end."""
    return json.dumps(value, ensure_ascii=False).encode()


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines atomically."""
    write_whole(path, b"".join(json_line(row) + b"\n" for row in rows))
