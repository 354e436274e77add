"""Which characters a stream can show; what stands for those it can't."""

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
"""Signs of ours, and what says the same in ASCII."""


def legible(line: str, encoding: str | None) -> str:
    """Return a line as a stream of this encoding can show it.

    Args:
        line: Any text; what could steer a terminal is taken out.
        encoding: Of the stream; None, or one that nobody knows, is taken for ASCII.
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
