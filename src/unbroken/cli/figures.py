"""Formats sizes, points in time, and names that come from files."""

from __future__ import annotations

import time


def size_text(count: int) -> str:
    """Return a size in bytes in a readable unit, in powers of ten."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def time_text(seconds: float) -> str:
    """Return a point in time (seconds since 1970) in UTC; the number itself if out of range."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s since 1970"


def shown(text: str) -> str:
    """Return a name from a file without control characters."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
