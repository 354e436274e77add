"""Entry point of `unbroken-tts`: handles stop signals while the program is still loading.

Loading takes seconds. Without a handler a signal would end the process with the wrong exit code,
which scripts that restart it depend on. Import nothing heavy here.
"""

from __future__ import annotations

import os
import signal
import sys

STOPPED, INTERRUPTED = 75, 130


def main() -> int:
    """Run the program with the arguments of this process; return its exit code."""
    if sys.argv[1:2] not in (["train"], ["rescue"]):
        from unbroken_tts.cli.main import main as run

        return run()
    return train(sys.argv[1:])


def train(words: list[str]) -> int:
    """Run a training; until it handles stop signals itself, they end it at once."""
    listen()
    from unbroken_tts.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(words)


def listen() -> None:
    """End at once with the exit code of a stop: nothing has begun that could be lost."""
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, _end)


def _end(number: int, _frame: object) -> None:
    os.write(2, f"Stopped by {signal.Signals(number).name} before anything began.\n".encode())
    os._exit(INTERRUPTED if number == signal.SIGINT else STOPPED)
