"""A program as the foreground job of a real terminal of its own, and a key pressed there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from support import preloaded
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
    terminal, side = _new_terminal(columns)
    program = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, sys.executable, *words],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env={**_attended(), **(environment or {})},
    )
    os.close(side)
    shown = _shown(terminal, key, after)
    return program.wait(), shown


def run_code_at_terminal(
    code: str,
    *words: str,
    key: bytes = b"",
    environment: Mapping[str, str] | None = None,
    columns: int = 0,
) -> tuple[int, str]:
    """Do the same with the code of a program whose imports are done; its encoding is UTF-8."""
    terminal, side = _new_terminal(columns)
    variables = {**_attended(), **(environment or {})}
    with preloaded.at_terminal(code, words, os.ttyname(side), variables) as process:
        os.close(side)
        shown = _shown(terminal, key, b"... ")
        process.join()
        assert process.exitcode is not None
        return process.exitcode, shown


def _new_terminal(columns: int) -> tuple[int, int]:
    import fcntl
    import pty
    import struct
    import termios

    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    return terminal, side


def _attended() -> dict[str, str]:
    left_out = {*BATCH_VARIABLES, "COLUMNS"}
    return {name: each for name, each in os.environ.items() if name not in left_out}


def _shown(terminal: int, key: bytes, after: bytes) -> str:
    shown = b""
    for block in _blocks(terminal):
        shown += block
        if key and after in shown:
            os.write(terminal, key)
            key = b""
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n")


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
