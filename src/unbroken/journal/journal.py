"""The journal: one line per step, which survives a kill of the process as soon as it is written.

A repeated step adds a line; readers use the last line of a step. Numbers are written in the shortest
form that reads back as the same number; values that aren't finite are written as strings.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unbroken.checkpoint.disk import AppendFile
from unbroken.errors import SaveFailed

KINDS: dict[str, Any] = {
    "step": int,
    "start": int,
    "updates": int,
    "event": str,
    "time": (int, float),
    "checkpoint": str,
    "checks": dict,
    "computed_with": dict,
}
"""Types of the fields that readers rely on; a line with other types counts as damaged."""
MOST = 1 << 62
"""A limit that no counter reaches."""

SYNC_SECONDS = 10.0
"""Longest time before a line is flushed to the device."""

_log = logging.getLogger("unbroken")


class Journal:
    """The open journal of a run.

    Args:
        path: The file; a torn last line is truncated.
    """

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)
        self.torn_bytes = self._file.cut_torn_tail()
        """Number of bytes of a torn last line that were truncated on opening."""
        self._synced = time.monotonic()
        self._is_torn = False

    def append(self, line: dict[str, Any]) -> None:
        """Write one line with one system call.

        Raises:
            SaveFailed: The line can't be written; those before it are complete.
        """
        try:
            if self._is_torn:  # part of a line that could not be truncated either
                self._file.cut_torn_tail()
                self._is_torn = False
            plain = {n: v if type(v) in _AS_THEY_ARE else _plain(v) for n, v in line.items()}
            self._file.append(_as_json(plain))
        except OSError as error:
            self._is_torn = True
            raise SaveFailed(
                f"A line could not be added to the journal {self._file.path}: {error}.",
                "A step without its line can't be compared when it is repeated.",
                "Free space on the disk, or check its permissions, and start again.",
            ) from error
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._synced = time.monotonic()
            try:
                self.sync()
            except OSError as error:  # the system has the line; the next save tries again
                _log.warning("%s could not be flushed to the device: %s", self._file.path, error)

    def sync(self) -> None:
        """Flush the lines to the device; done before each commit of a checkpoint."""
        self._file.sync()
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flush the lines to the device and close the file."""
        self._file.close()


_AS_THEY_ARE = (int, str, bool)
_encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def _as_json(line: Any) -> bytes:
    try:
        return _encoder.encode(line).encode()
    except UnicodeEncodeError:  # a lone surrogate is written as an escape
        return json.dumps(line, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def read_lines(path: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a journal or history; torn or damaged lines are skipped.

    Args:
        path: The file; a missing one has no lines.
        start: Number of bytes to skip at its beginning.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(start)
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and _is_sound(line):
                yield line


def _is_sound(line: dict[str, Any]) -> bool:
    """Return whether the fields that readers rely on have the right types."""
    for name, kind in KINDS.items():
        if name not in line or (name == "step" and line[name] is None):  # a replay of no step
            continue
        value = line[name]
        if not isinstance(value, kind) or (kind is int and not 0 <= value < MOST):
            return False
    return True


def last_line_of_each_step(path: Path) -> dict[int, dict[str, Any]]:
    """Return the last line of each step, by step."""
    return {line["step"]: line for line in read_lines(path) if type(line.get("step")) is int}
