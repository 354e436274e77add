"""The journal: one line a step, which survives the death of the process at once.

A repeated step adds a line; for readers the last line of a step counts. Numbers are written in the
shortest form that reads back as the same number; what isn't finite is written as a string.
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
"""What the fields are that readers count and compare by; a line of other kinds is damaged."""
MOST = 1 << 62
"""No counter reaches it."""

SYNC_SECONDS = 10.0
"""The longest that a line may stay in the system's memory before it is brought to the device."""

_log = logging.getLogger("unbroken")


class Journal:
    """The open journal of a run.

    Args:
        path: The file; a torn last line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)
        self.torn_bytes = self._file.cut_torn_tail()
        """Bytes of an unfinished last line that were cut off on opening."""
        self._synced = time.monotonic()
        self._is_torn = False

    def append(self, line: dict[str, Any]) -> None:
        """Write one line with one call to the system.

        Raises:
            SaveFailed: The disk refused the line; those before it are whole.
        """
        try:
            if self._is_torn:  # a part of a line that could not even be taken back
                self._file.cut_torn_tail()
                self._is_torn = False
            self._file.append(_as_json(_plain(line)))
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
            except OSError as error:  # the line is in the system's hands; the saves try again
                _log.warning("%s could not be flushed to the device: %s", self._file.path, error)

    def sync(self) -> None:
        """Bring the lines to the device; done before each commit of a checkpoint."""
        self._file.sync()
        self._synced = time.monotonic()

    def close(self) -> None:
        """Bring the lines to the device and close the file."""
        self._file.close()


def _as_json(line: Any) -> bytes:
    try:
        return json.dumps(line, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair stands as an escape
        return json.dumps(line, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def read_lines(path: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a journal or history; a torn or damaged line is passed over.

    Args:
        path: The file; one that is not there has no lines.
        start: Bytes to leave out at its beginning.
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
    """Say whether what readers count and compare by is of the kind that is written there."""
    for name, kind in KINDS.items():
        if name not in line or (name == "step" and line[name] is None):  # a replay of no step
            continue
        value = line[name]
        if not isinstance(value, kind) or (kind is int and not 0 <= value < MOST):
            return False
    return True


def last_line_of_each_step(path: Path) -> dict[int, dict[str, Any]]:
    """Return by step the line that counts: the last one written."""
    return {line["step"]: line for line in read_lines(path) if type(line.get("step")) is int}
