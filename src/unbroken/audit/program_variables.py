"""The variables of the functions that are running, but for ours and PyTorch's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def program_variables() -> Iterator[tuple[str, Any]]:
    """Yield name and value of each, the innermost function first, its own variables before the global ones."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the only way to them
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("unbroken", "torch"):
            yield from (*frame.f_locals.items(), *frame.f_globals.items())
        frame = frame.f_back
