"""Progress bars for long work, on stderr if it is a terminal."""

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
"""Returns, for a name, the callback `(done, total)` that draws its bar."""


def new_bars(
    *,
    counts_bytes: bool = False,
    shows_elapsed: bool = False,
    stays: bool = False,
    redirect_stdout: bool = True,
) -> Progress:
    """Return progress bars, not started yet; they only show on a terminal.

    Args:
        counts_bytes: Whether bytes are counted, or items.
        shows_elapsed: Whether to show the elapsed time beside the time left.
        stays: Whether the bars stay on the screen when the work is done.
        redirect_stdout: Whether lines printed meanwhile go above the bars.
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
    """Yield a function that returns, for a name, the callback of its bar; see `new_bars`."""
    with new_bars(counts_bytes=counts_bytes, stays=stays) as bars:

        def bar(name: str) -> Callable[[int, int], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar
