"""Replaces characters that a stream can't show."""

from __future__ import annotations

from typing import Final

PLAIN: Final = {
    "🚨": "!!",
    "✅": "[OK]",
    "❌": "[FAILED]",
    "…": "...",
    "→": "->",
    "–": "-",  # noqa: RUF001  # it is the sign that is replaced
    "—": "-",
    "×": "x",  # noqa: RUF001  # it is the sign that is replaced
}
"""The signs in reports, and their replacements in ASCII."""


def legible(line: str, encoding: str | None) -> str:
    """Return a line that a stream of this encoding can show.

    Args:
        line: Any text; control characters are removed.
        encoding: Encoding of the stream; None, or an unknown one, means ASCII.
    """
    line = "".join(each if each.isprintable() else "?" for each in line)
    if _can_show(line, encoding or "ascii"):
        return line
    for sign, plain in PLAIN.items():
        if not _can_show(sign, encoding or "ascii"):
            line = line.replace(sign, plain)
    if _can_show(line, encoding or "ascii"):
        return line
    return line.encode("ascii", errors="backslashreplace").decode("ascii")


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
