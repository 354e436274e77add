"""Draws the progress of long work on the error stream of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unbroken_tts.progress import Progress as Report


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Report]]:
    """Give a function from the name of a stage to the callback that draws it.

    Where standard error is no terminal nothing is drawn.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def stage(name: str) -> Report:
            task = bars.add_task(name, total=None)

            def report(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            return report

        yield stage
