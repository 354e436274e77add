"""Counts with their noun, as a person reads them: `1 step`, `2 steps`."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, in the singular for 1 alone.

    Args:
        number: How many.
        noun: In the singular; its plural ends in s.
    """
    shown = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 's'}"
