"""Shows the stages of a long command: progress bars on a terminal, else one line per stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from unbroken import progress_bars
from unbroken_tts.prepare.fitting import Stages
from unbroken_tts.progress import Progress

_QUIET_SECONDS = 10.0


@contextmanager
def stage_lines() -> Iterator[Stages]:
    """Yield a function that returns the progress callback for a stage, by its name."""
    if sys.stderr.isatty():
        with progress_bars(stays=True) as stages:
            yield stages
        return
    yield _lines


def _lines(name: str) -> Progress:
    """Print the name when the stage begins, and its progress every ten seconds."""
    said = [0.0]

    def report(done: int, total: int) -> None:
        now = time.monotonic()
        if said[0] == 0.0 or now - said[0] > _QUIET_SECONDS:
            said[0] = now
            print(f"{name}: {done} of {total}", file=sys.stderr, flush=True)

    return report
