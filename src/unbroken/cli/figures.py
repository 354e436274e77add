"""How figures are shown: bytes and points in time; and a bar for long reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def size_text(count: int) -> str:
    """Return a number of bytes as a person reads it, in powers of ten."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def time_text(seconds: float) -> str:
    """Return a point in time (seconds since 1970, UTC) in UTC; of an absurd one the number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s since 1970"


def shown(text: str) -> str:
    """Return a name out of a file so that printing it can't steer the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


Bars = Callable[[str], Callable[[int, int], None]]
"""Gives to a name the callback `(done, total)` that draws its bar."""


def byte_bars() -> AbstractContextManager[Bars]:
    """Draw how many bytes were read; only a terminal shows bars."""
    return _bars(DownloadColumn())


def count_bars() -> AbstractContextManager[Bars]:
    """Draw how many things were done; only a terminal shows bars."""
    return _bars(MofNCompleteColumn())


@contextmanager
def _bars(column: ProgressColumn) -> Iterator[Bars]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        column,
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bars:

        def bar(name: str) -> Callable[[int, int], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar
