"""The start of the `unbroken-tts` program: a stop is honoured while it is still being loaded.

Loading takes seconds, in which a signal would end the process as if nobody had answered it; a loop
that starts it again goes by the exit code. Nothing heavy may be imported here.
"""

from __future__ import annotations

import os
import signal
import sys

STOPPED, INTERRUPTED = 75, 130


def main() -> int:
    """Run the program with the words of this process; return its exit code."""
    if sys.argv[1:2] != ["train"]:
        from unbroken_tts.cli.main import main as run

        return run()
    return train(sys.argv[1:])


def train(words: list[str]) -> int:
    """Run a training, stoppable from here on; what it doesn't listen to itself ends it at once."""
    listen()
    from unbroken_tts.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(words)


def listen() -> None:
    """End by the exit code of a stop, at once: nothing has begun that could be lost."""
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, _end)


def _end(number: int, _frame: object) -> None:
    os.write(2, f"Stopped by {signal.Signals(number).name} before anything began.\n".encode())
    os._exit(INTERRUPTED if number == signal.SIGINT else STOPPED)
