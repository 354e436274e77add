"""Shows the stages of a long command: progress bars on a terminal, else one line per stage."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from unbroken import progress_bars
from unbroken_tts.prepare.fitting import Stages
from unbroken_tts.progress import Progress

_QUIET_SECONDS = 10.0
_LINES = 100


@contextmanager
def stage_lines() -> Iterator[Stages]:
    """Yield a function that returns the progress callback for a stage, by its name."""
    if sys.stderr.isatty():
        with progress_bars(stays=True) as stages:
            yield stages
        return
    yield _lines


def _lines(name: str) -> Progress:
    """Print the name when the stage begins, then progress and time left, ever more rarely."""
    begun, said, before = time.monotonic(), 0.0, -1

    def report(done: int, total: int) -> None:
        nonlocal begun, said, before
        now = time.monotonic()
        if before < 0:
            begun, before = now, done
        elif now - said < max(_QUIET_SECONDS, (now - begun) / _LINES):
            return
        said = now
        print(
            f"{name}: {done} of {total}{_left(now - begun, done - before, total - done)}",
            file=sys.stderr,
            flush=True,
        )

    return report


def _left(seconds: float, done: int, to_do: int) -> str:
    """Return the time left at the present rate, as text to append; empty if it isn't known."""
    if done <= 0 or to_do <= 0:
        return ""
    minutes = math.ceil(seconds / done * to_do / 60)
    hours, minutes = divmod(minutes, 60)
    return f", {f'{hours} h ' if hours else ''}{minutes} min left"
