"""How a line fits a terminal: broken between words, and continued below its own text.

What somebody copies stays usable: a command is broken as a shell lets it be, `code` never.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TextIO

from rich.cells import cell_len

from unbroken.report.symbols import legible

INDENT: Final = "   "
USUAL_WIDTH: Final = 80
"""Columns of a terminal that does not say how many it has."""

_WORD: Final = re.compile(r"(?:`[^`]+`|\S)+")


@dataclass(frozen=True, slots=True)
class Row:
    """One line as it is meant; a terminal may need several for it."""

    text: str
    lead: str = ""
    """Stands before the text: blanks, a sign or a label."""
    is_command: bool = False
    """Whether the text is a command to be copied into a shell."""

    def indented(self, by: str) -> Row:
        """Return the row further to the right."""
        return Row(self.text, by + self.lead, self.is_command)

    def lines(self, width: int | None, encoding: str | None) -> list[str]:
        """Return the row as lines.

        Args:
            width: Columns of the terminal; None where nothing limits a line.
            encoding: Of the stream; signs it can't show become ASCII.
        """
        lead, text = legible(self.lead, encoding), legible(self.text, encoding)
        if width is None or cell_len(lead + text) <= width:
            return [(lead + text).rstrip()]
        # Below a label further lines begin under the text; else they stand out by two blanks.
        hang = cell_len(lead) + (0 if lead.strip() else 2)
        more = " " * min(hang, width // 2)
        if not self.is_command:
            return [*_filled(_WORD.findall(text), lead, more, width)]
        words = _words_of_command(text)
        *broken, last = _filled(words, lead, more, width - len(" \\"))
        return [*(f"{each} \\" for each in broken), last]


def laid_out(rows: Sequence[Row], width: int | None, encoding: str | None) -> list[str]:
    """Return rows as the lines of a terminal, or of a file; see `Row.lines`."""
    return [line for row in rows for line in row.lines(width, encoding)]


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a stream is an open terminal."""
    with suppress(ValueError, OSError):  # a closed one is none
        return stream is not None and stream.isatty()
    return False


def terminal_width(stream: TextIO) -> int | None:
    """Return how many columns a stream shows; None where it is no terminal.

    The variable COLUMNS overrules the terminal, as it does for other programs.
    """
    if not is_terminal(stream):
        return None
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except OSError:  # it only says that it is one
        return USUAL_WIDTH


def _filled(words: Sequence[str], lead: str, more: str, width: int) -> Iterator[str]:
    """Yield lines of as many words as fit; a longer word has a line of its own, whole."""
    line, is_begun = lead, False
    for word in words:
        if is_begun and cell_len(f"{line} {word}") > width:
            yield line
            line, is_begun = more, False
        line += f" {word}" if is_begun else word
        is_begun = True
    yield line


def _words_of_command(text: str) -> list[str]:
    """Return what a command may be broken between; of another shell than POSIX's the whole of it."""
    if sys.platform == "win32":
        return [text]
    words = [shlex.quote(each) for each in shlex.split(text)]
    return words if " ".join(words) == text else [text]
