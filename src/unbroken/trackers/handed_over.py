"""How far each tracker has come, for those that can't be asked: a small file of the run."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

from unbroken.checkpoint import disk

WRITE_SECONDS = 1.0
"""Time between two writings. After a kill, steps of this time may be handed over a second time."""

_log = logging.getLogger("unbroken")


class HandedOver:
    """The last step that each tracker has taken in.

    Args:
        path: The file; one of another run, or one that is damaged, counts as empty.
        run_id: The run's.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self._path = path
        self._run_id = run_id
        self._steps = _read(path, run_id)
        self._lock = threading.Lock()
        self._written = 0.0
        self._is_closed = False

    def of(self, name: str) -> int:
        """Return the last step of a tracker; 0 for none."""
        return self._steps.get(name, 0)

    def advance(self, name: str, step: int) -> None:
        """Note that a tracker has taken in a step, and write that down now and then."""
        with self._lock:
            self._steps[name] = step
            if time.monotonic() - self._written > WRITE_SECONDS:
                self._write()

    def close(self) -> None:
        """Write down how far the trackers have come, for the last time: the directory is given back."""
        with self._lock:
            self._write()
            self._is_closed = True

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._is_closed or not self._steps:
            return
        content = json.dumps({"run_id": self._run_id, "steps": self._steps}).encode()
        try:
            disk.replace_file(self._path, content, durable=False)
        except OSError as error:
            self._is_closed = True
            _log.warning(
                "%s can't be written: %s. Training continues; a tracker that can't be asked may get "
                "some steps twice at the next start, with the same values.",
                self._path,
                error,
            )


def _read(path: Path, run_id: str) -> dict[str, int]:
    try:
        content = json.loads(path.read_bytes())
        steps = content["steps"] if content["run_id"] == run_id else {}
        return {str(name): int(each) for name, each in steps.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
