"""The type of a progress callback; the command line draws the progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (items done, items in total)."""


def ignore_progress(_done: int, _total: int) -> None:
    """Show nothing."""
