"""Bars that show on the error stream of a terminal how far long work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Bars = Callable[[str], Callable[[int, int], None]]
"""Gives to a name the callback `(done, total)` that draws its bar."""


def new_bars(
    *,
    counts_bytes: bool = False,
    shows_elapsed: bool = False,
    stays: bool = False,
    redirect_stdout: bool = True,
) -> Progress:
    """Return bars that are still to be started; only a terminal shows them.

    Args:
        counts_bytes: What is counted are bytes; else things.
        shows_elapsed: The time since the start stands beside the time left.
        stays: The bars stay on the screen when the work is done.
        redirect_stdout: Lines that are printed meanwhile go above the bars.
    """
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if counts_bytes else MofNCompleteColumn(),
        *([TimeElapsedColumn()] if shows_elapsed else []),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=not stays,
        redirect_stdout=redirect_stdout,
    )


@contextmanager
def progress_bars(*, counts_bytes: bool = False, stays: bool = False) -> Iterator[Bars]:
    """Give a function from a name to the callback that draws its bar; see `new_bars`."""
    with new_bars(counts_bytes=counts_bytes, stays=stays) as bars:

        def bar(name: str) -> Callable[[int, int], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar
