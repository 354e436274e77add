"""How long work tells its caller how far it is; drawing it is the command line's business."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (items done, items in all), from 0 or 1 up to all."""


def ignore_progress(_done: int, _total: int) -> None:
    """Show nothing."""
