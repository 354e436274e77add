"""Reads texts named on the command line: a text itself, a file with one a line, or stdin."""

from __future__ import annotations

import sys
from pathlib import Path

from unbroken import DataInvalid


def texts_of(named: str) -> list[str]:
    """Return the text, or the lines of the file of this name; empty lines are omitted.

    Args:
        named: A text, the path of a file in UTF-8, or `-` for stdin.

    Raises:
        DataInvalid: The file can't be read, or has no text.
    """
    if named == "-":
        return [line for line in sys.stdin.read().splitlines() if line.strip()]
    try:
        is_file = Path(named).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        is_file = False
    return lines_of(Path(named)) if is_file else [named]


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        DataInvalid: It can't be read, or has none.
    """
    try:
        found = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(
            f"The texts {path} can't be read: {error}.",
            "Each line is a text, in UTF-8.",
            "Name a text file.",
        ) from error
    lines = [line for line in found if line.strip()]
    if not lines:
        raise DataInvalid(
            f"{path} has no text.",
            "Each line is a text, in UTF-8.",
            "Name a text file with at least one line.",
        )
    return lines
