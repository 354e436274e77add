"""Wraps lines for a terminal, between words and with a hanging indent.

Text to copy stays usable: a command is wrapped with the shell's line continuation, `code` never.
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
"""Columns of a terminal that does not report its width."""

_WORD: Final = re.compile(r"(?:`[^`]+`|\S)+")


@dataclass(frozen=True, slots=True)
class Row:
    """One logical line; a terminal may need several for it."""

    text: str
    lead: str = ""
    """The text before it: spaces, a sign or a label."""
    is_command: bool = False
    """Whether the text is a command to copy into a shell."""

    def indented(self, by: str) -> Row:
        """Return the row, indented."""
        return Row(self.text, by + self.lead, self.is_command)

    def lines(self, width: int | None, encoding: str | None) -> list[str]:
        """Return the wrapped lines of the row.

        Args:
            width: Columns of the terminal; None doesn't wrap.
            encoding: Encoding of the stream; signs it can't show become ASCII.
        """
        lead, text = legible(self.lead, encoding), legible(self.text, encoding)
        if width is None or cell_len(lead + text) <= width:
            return [(lead + text).rstrip()]
        # After a label, continuation lines align with the text; else they are indented by two.
        hang = cell_len(lead) + (0 if lead.strip() else 2)
        more = " " * min(hang, width // 2)
        if not self.is_command:
            return [*_filled(_WORD.findall(text), lead, more, width)]
        words = _words_of_command(text)
        *broken, last = _filled(words, lead, more, width - len(" \\"))
        return [*(f"{each} \\" for each in broken), last]


def laid_out(rows: Sequence[Row], width: int | None, encoding: str | None) -> list[str]:
    """Return the lines of all rows; see `Row.lines`."""
    return [line for row in rows for line in row.lines(width, encoding)]


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an open terminal."""
    with suppress(ValueError, OSError):  # a closed one is none
        return stream is not None and stream.isatty()
    return False


def terminal_width(stream: TextIO) -> int | None:
    """Return the number of columns of a stream; None if it is not a terminal.

    The variable COLUMNS overrides the terminal, as for other programs.
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
    """Yield lines of as many words as fit; a longer word gets its own line, unbroken."""
    line, is_begun = lead, False
    for word in words:
        if is_begun and cell_len(f"{line} {word}") > width:
            yield line
            line, is_begun = more, False
        line += f" {word}" if is_begun else word
        is_begun = True
    yield line


def _words_of_command(text: str) -> list[str]:
    """Return the parts between which a command may wrap; for other shells than POSIX's, one part."""
    if sys.platform == "win32":
        return [text]
    words = [shlex.quote(each) for each in shlex.split(text)]
    return words if " ".join(words) == text else [text]
