"""By how much the process grows at its peak while something is done."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import psutil

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Growth:
    """Measures the peak of the resident memory over its beginning; a context manager.

    Where the system has no peak that can be reset (it is Linux's), the growth that is left at the end
    is taken.
    """

    def __init__(self) -> None:
        self.bytes = 0.0
        """Bytes, known at the end."""
        self._before = 0

    def __enter__(self) -> Self:
        self._can_reset = _reset_peak()
        self._before = psutil.Process().memory_info().rss
        return self

    def __exit__(self, *_: object) -> None:
        after = psutil.Process().memory_info().rss
        self.bytes = float(max(_peak() if self._can_reset else 0, after) - self._before)


def _reset_peak() -> bool:
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak() -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
