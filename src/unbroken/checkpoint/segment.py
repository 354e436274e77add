"""A range of bytes of a file with its digest: one tensor, or the header before the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken.state.digest import bytes_digest

LONGEST_NAME = 200
"""Longest shown name of a tensor; it comes from a file that may be hostile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A range of bytes of a file; the segments of a file have no gap or overlap."""

    leaf: str | None
    """The tensor; None for the header, or for a whole file."""
    begin: int
    """Offset of the first byte in the file."""
    size: int
    """Number of bytes; 0 for an empty tensor."""
    digest: str
    """XXH3-128 of the bytes."""

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.begin + self.size


def whole_file(content: bytes) -> list[Segment]:
    """Return the one segment of a file without tensors."""
    return [Segment(leaf=None, begin=0, size=len(content), digest=bytes_digest(content))]


def told_apart(name: str, segments: Sequence[Segment], found: Sequence[str]) -> str | None:
    """Return what is damaged in a file, as a part of a sentence.

    Args:
        name: The file's name.
        segments: The saved segments, in the file's order.
        found: The digests of the file's present content.

    Returns:
        None if every digest is the saved one.
    """
    wrong = [each for each, digest in zip(segments, found, strict=True) if each.digest != digest]
    if not wrong:
        return None
    first = name if len(segments) == 1 else f"{_shown(wrong[0].leaf)} in {name}"
    others = f", nor those of {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"the bytes of {first} are not the ones that were saved{others}"


def _shown(leaf: str | None) -> str:
    """Return a name without control characters."""
    if leaf is None:
        return "the header"
    return leaf[:LONGEST_NAME] if leaf.isprintable() else repr(leaf[:LONGEST_NAME])
