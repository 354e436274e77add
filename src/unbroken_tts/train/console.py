"""The trainer's output: lines on stdout and in a file, progress bars on a terminal.

No failure of the output ends the training: a closed pipe, a terminal that hung up or a full disk
costs lines, not the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rich.progress import Progress

from unbroken import new_bars

Report = Callable[[int, int], None]
"""`report(done, total)` updates a progress bar."""


class Console:
    """Prints lines, and writes them to `logs/console.log` once the run's directory is known.

    Args:
        is_shown: Whether lines and bars are printed; of several processes one prints for all.
    """

    def __init__(self, *, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._file: BinaryIO | None = None
        self._early: list[str] = []
        self._bars: Progress | None = None

    def keep_in(self, path: Path) -> None:
        """Append all lines of this process, earlier and later ones, to a file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            self.line(f"NOTE: can't write the log {path}: {error}")
        early, self._early = self._early, []
        for text in early:
            self.keep(text)

    def line(self, text: str) -> None:
        """Print one line."""
        try:
            if self._is_shown:
                print(text, flush=True)  # noqa: T201  # this is the trainer's own output
        except OSError:
            _speak_to_nobody()
        self.keep(text)

    def keep(self, text: str) -> None:
        """Write one line to the file only."""
        if self._file is None:
            self._early.append(text)
            return
        with suppress(OSError):
            self._file.write(text.encode("utf-8", errors="backslashreplace") + b"\n")

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator[Report]:
        """Show a progress bar if stderr is a terminal; a nested call adds a line to it."""
        if not (self._is_shown and sys.stderr.isatty()):
            yield lambda _done, _total: None
            return
        outer = self._bars
        # On a shared terminal rich prints lines above the bars; a redirected stdout stays redirected.
        bars = outer or new_bars(shows_elapsed=True, redirect_stdout=sys.stdout.isatty())
        if outer is None:
            self._bars = bars
            with suppress(OSError):
                bars.start()
        task = bars.add_task(what, total=total, completed=done)
        try:
            yield lambda now, all_: bars.update(task, completed=now, total=all_)
        finally:
            with suppress(OSError):
                if outer is None:
                    self._bars = None
                    bars.stop()
                else:
                    bars.remove_task(task)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _speak_to_nobody() -> None:
    """Discard further lines: the reader of the pipe is gone, or the terminal hung up."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
