"""A countdown in which Ctrl+C aborts, and whether somebody is there to press it.

Output goes to the stream that is passed as an argument.
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
"""Environment variables that batch systems and continuous integration set for their jobs."""

NO: Final = {"", "0", "false", "no"}
"""Values of a variable that count as unset."""


def why_unattended(
    stdin: TextIO | None, stderr: TextIO | None, environment: Mapping[str, str]
) -> str:
    """Return why nobody can be asked; empty if somebody can.

    Args:
        stdin: Standard input; None if the process has none.
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
    """Return whether this is a notebook that somebody uses, not one executed by a program."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kernel = getattr(interactive, "kernel", None)
    # Notebooks executed by a program disallow input from stdin.
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))


def _is_in_background(stdin: TextIO | None) -> bool:
    """Return whether Ctrl+C at the terminal goes to another job of its shell."""
    if stdin is None or sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(stdin.fileno()) != os.getpgrp()
    except (OSError, ValueError):
        return False  # not the controlling terminal: its Ctrl+C may be relayed


def count_down(seconds: float, stream: TextIO, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Count down while Ctrl+C aborts.

    Args:
        seconds: Duration; 0 returns at once.
        stream: Receives the countdown, on one line.
        sleep: Waits for a number of seconds.

    Returns:
        True if the time ran out; False if Ctrl+C was pressed or the stream is closed.
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
    """Yield (seconds left, seconds until the next); after the first, whole seconds."""
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
    """Make Ctrl+C raise in the block: a shell may have set it to be ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
