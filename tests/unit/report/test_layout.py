"""Lines that fit a terminal: where they break, and what stays whole to be copied."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys

import pytest
from rich.cells import cell_len

from support.findings import finding, uncompared, whole_report
from unbroken.checks.check import Severity
from unbroken.checks.decision import decide
from unbroken.report.layout import Row, terminal_width
from unbroken.report.terminal import render

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="a POSIX shell or terminal: runs on Linux and macOS"
)

FOUND = whole_report(
    finding(
        "settings-unchanged",
        "2 of 20 differ",
        "settings.grad_clip is 0.5, was 1.0",
        f"settings.init_from is {'/a long path' * 8!r}, was None",
    ),
    finding("weights-identical", "40 of 151 differ", *(f"m.{i}.weight: other" for i in range(40))),
    uncompared("probe-loss-reproduced", "the run has no probe " * 5, severity=Severity.WARNING),
    finding(
        "batch-geometry-unchanged", "64 samples a step, was 8", headline="WARNING: " + "8 " * 70
    ),
)
COMMAND = shlex.join(
    ["python", "trainers/train_gpt_v2.py", "--output-dir", "my run", *["--amp"] * 20]
)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_line_of_a_report_fits_the_terminal(width: int, *, verbose: bool) -> None:
    """In the short form and in the long one, whatever signs stand in it."""
    commands = {"settings-unchanged": COMMAND}
    for encoding in ("utf-8", "ascii"):
        shown = render(
            FOUND, decide(FOUND), verbose=verbose, width=width, encoding=encoding, commands=commands
        )
        assert [] == [each for each in shown if cell_len(each) > width]


@pytest.mark.parametrize("verbose", [False, True])
def test_wrapping_changes_no_word(*, verbose: bool) -> None:
    """What a terminal shows is what a file holds, but for the breaks and the length of the rules."""
    narrow, wide = (
        render(FOUND, decide(FOUND), verbose=verbose, width=width) for width in (60, 78)
    )
    assert " ".join(wide).replace("=" * 78, "=" * 60).split() == " ".join(narrow).split()


def test_a_line_goes_on_below_its_text() -> None:
    """After a label under the text; without one two blanks further in."""
    assert ["   Found: one two", "          three"] == Row("one two three", "   Found: ").lines(
        22, "utf-8"
    )
    assert ["   one two", "     three"] == Row("one two three", "   ").lines(12, "utf-8")
    assert ["one two three"] == Row("one two three").lines(None, "utf-8")


def test_a_wide_sign_counts_as_two_columns() -> None:
    """A line with a siren is broken one column earlier."""
    assert ["🚨 ab cd"] == Row("ab cd", "🚨 ").lines(8, "utf-8")
    assert ["🚨 ab", "   cd"] == Row("ab cd", "🚨 ").lines(7, "utf-8")


def test_what_is_copied_stays_whole() -> None:
    """Neither a long path nor what stands between backticks is broken."""
    path = "/data/" + "x" * 40
    assert ["look in", f"  {path}", "  now"] == Row(f"look in {path} now").lines(20, "utf-8")
    shown = Row("type `unbroken bundle 'my run'` to collect it").lines(20, "utf-8")
    assert "  `unbroken bundle 'my run'`" in shown


@posix
def test_a_broken_command_is_the_same_command() -> None:
    """A shell reads the lines as they stand, arguments with blanks in them too."""
    words = ["printf", "%s|", *(f"word {i}" for i in range(20)), "it's"]
    shown = Row(shlex.join(words), "      ", is_command=True).lines(40, "utf-8")
    assert 5 < len(shown)
    done = subprocess.run(
        ["/bin/sh", "-c", "\n".join(shown)], capture_output=True, encoding="utf-8", check=True
    )
    assert "".join(f"{each}|" for each in words[2:]) == done.stdout


@posix
def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS overrules it; one that doesn't say has 80; a pipe and a text buffer have none."""
    import fcntl
    import pty
    import struct
    import termios

    monkeypatch.delenv("COLUMNS", raising=False)
    terminal, side = pty.openpty()
    with open(side, "w", encoding="utf-8") as stream:  # noqa: PTH123 -- a descriptor
        assert 80 == terminal_width(stream)
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
        assert 132 == terminal_width(stream)
        monkeypatch.setenv("COLUMNS", "100")
        assert 100 == terminal_width(stream)
    os.close(terminal)
    assert terminal_width(io.StringIO()) is None
    assert terminal_width(stream) is None  # closed
