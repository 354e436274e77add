"""End the workers of a loader's iterator now, not when the garbage collector comes to it."""

from __future__ import annotations

from typing import Any


def end_workers(iterator: Any) -> None:
    """End the processes that an iterator of PyTorch's loader reads with; of others, do nothing."""
    shut_down = getattr(
        iterator, "_shutdown_workers", None
    )  # what it calls itself when it is deleted
    if callable(shut_down):
        shut_down()
