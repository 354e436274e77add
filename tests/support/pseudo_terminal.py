"""A program as the foreground job of a real terminal of its own, and a key pressed there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from unbroken.report.countdown import BATCH_VARIABLES

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the controlling terminal, so that its Ctrl+C is a signal."""


def run_at_terminal(
    words: Sequence[str],
    key: bytes = b"",
    after: bytes = b"... ",
    environment: Mapping[str, str] | None = None,
    columns: int = 0,
) -> tuple[int, str]:
    """Run a Python program at a new terminal; press a key once the terminal shows `after`.

    Args:
        words: The program and its arguments, without the interpreter.
        key: What is pressed; nothing for no key.
        after: What must be shown before.
        environment: Variables to set beside those of this process.
        columns: Width of the terminal; 0 for one that does not say its width.

    Returns:
        Its exit code, and all that the terminal showed.
    """
    import fcntl
    import pty
    import struct
    import termios

    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    left_out = {*BATCH_VARIABLES, "COLUMNS"}
    plain = {name: each for name, each in os.environ.items() if name not in left_out}
    program = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, sys.executable, *words],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env={**plain, **(environment or {})},
    )
    os.close(side)
    shown = b""
    for block in _blocks(terminal):
        shown += block
        if key and after in shown:
            os.write(terminal, key)
            key = b""
    os.close(terminal)
    return program.wait(), shown.decode().replace("\r\n", "\n")


def _blocks(terminal: int) -> Iterator[bytes]:
    """Yield what a terminal shows until its program ends."""
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that nobody holds the other end
            return
        if not block:
            return
        yield block
