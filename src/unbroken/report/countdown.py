"""Some seconds in which a person can press Ctrl+C, and whether there is a person.

Nothing here prints by itself: the stream is an argument.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from unbroken.counts import counted
from unbroken.report.layout import is_terminal

BATCH_VARIABLES: Final = (
    "CI",
    "SLURM_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "SGE_TASK_ID",
    "COBALT_JOBID",
    "OAR_JOB_ID",
    "FLUX_JOB_ID",
    "_CONDOR_SLOT",
    "AWS_BATCH_JOB_ID",
    "SM_TRAINING_ENV",
    "CLOUD_ML_JOB_ID",
    "KUBERNETES_SERVICE_HOST",
    "BUILDKITE",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
)
"""What batch systems and continuous integration set for their jobs."""

NO: Final = {"", "0", "false", "no"}
"""Values of a variable that mean it isn't set."""


def why_unattended(
    stdin: TextIO | None, stderr: TextIO | None, environment: Mapping[str, str]
) -> str:
    """Return why nobody can be asked; empty where somebody can.

    Args:
        stdin: Standard input; None where the process has none.
        stderr: Standard error, likewise.
        environment: The environment variables.
    """
    if _has_person_in_notebook():
        return ""
    for name in BATCH_VARIABLES:
        if environment.get(name, "").lower() not in NO:
            return f"{name} is set"
    for name, stream in (("stdin", stdin), ("stderr", stderr)):
        if not is_terminal(stream):
            return f"{name} is not a terminal"
    return "the process runs in the background" if _is_in_background(stdin) else ""


def _has_person_in_notebook() -> bool:
    """Say whether this is a notebook that somebody works in, and not one that a program executes."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kernel = getattr(interactive, "kernel", None)
    # A notebook that runs from end to end by itself is told that nobody can be asked.
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))


def _is_in_background(stdin: TextIO | None) -> bool:
    """Say whether Ctrl+C at the terminal goes to another job of its shell."""
    if stdin is None or sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(stdin.fileno()) != os.getpgrp()
    except (OSError, ValueError):
        return False  # not the terminal that controls us: its Ctrl+C may be relayed


def count_down(seconds: float, stream: TextIO, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Give a person time to press Ctrl+C.

    Args:
        seconds: How long; 0 asks nobody and waits for nothing.
        stream: Where the seconds are counted, on one line.
        sleep: Waits for so many seconds.

    Returns:
        True where the time ran out; False where Ctrl+C was pressed, or nobody can read the stream.
    """
    if seconds <= 0:
        return True
    try:
        with _interruptible():
            _say(stream, f"Press Ctrl+C within {counted(seconds, 'second')} to abort...\n  ")
            for left, pause in _ticks(seconds):
                _say(stream, f"{left:g}... ")
                sleep(pause)
            _say(stream, "\n")
    except KeyboardInterrupt:
        with suppress(OSError, ValueError):
            _say(stream, "\n")
        return False
    except (OSError, ValueError):  # the terminal hung up, or was closed
        return False
    return True


def _ticks(seconds: float) -> Iterator[tuple[float, float]]:
    """Yield (seconds left, seconds until the next): whole ones but for the first."""
    left = seconds
    while left > 0:
        below = math.ceil(left) - 1
        yield left, left - below
        left = below


def _say(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl+C raise, whatever it did before: a shell may have told a job to ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
