"""What a person sees of a training: lines on stdout and in a file, a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Console:
    """Prints lines, and keeps them in `logs/console.log` once the run's directory is known."""

    def __init__(self) -> None:
        self._file: TextIO | None = None
        self._early: list[str] = []
        self._bar: Progress | None = None

    def keep_in(self, path: Path) -> None:
        """Append this and all earlier lines of this process to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", newline="\n", buffering=1)
        for line in self._early:
            self._file.write(line + "\n")
        self._early.clear()

    def line(self, text: str) -> None:
        """Print one line."""
        if self._bar is not None:
            self._bar.console.file.flush()
        print(text, flush=True)  # noqa: T201  # this is the trainer's own output
        if self._file is None:
            self._early.append(text)
        else:
            self._file.write(text + "\n")

    @contextmanager
    def progress(
        self, what: str, total: int, done: int = 0
    ) -> Iterator[Callable[[int, int], None]]:
        """Draw a bar with the time left on a terminal's stderr; yields `report(done, total)`."""
        if not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=RichConsole(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task(what, total=total, completed=done)
            outer, self._bar = self._bar, bar
            try:
                yield lambda now, all_: bar.update(task, completed=now, total=all_)
            finally:
                self._bar = outer

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
