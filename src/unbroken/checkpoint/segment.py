"""A stretch of a file with the digest of its bytes: the bytes of one tensor, or what is before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken.state.digest import bytes_digest

LONGEST_NAME = 200
"""Characters of a tensor's name that are shown; it comes from a file that may be hostile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a file; those of a file follow one another without gap or overlap."""

    leaf: str | None
    """The tensor whose bytes these are; None for what stands before the first one, or the whole file."""
    begin: int
    """First byte in the file."""
    size: int
    """Bytes; 0 for an empty tensor."""
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
        name: The file's.
        segments: As they were saved, in the file's order.
        found: The digests of what is there.

    Returns:
        None where every digest is the one that was saved.
    """
    wrong = [each for each, digest in zip(segments, found, strict=True) if each.digest != digest]
    if not wrong:
        return None
    first = name if len(segments) == 1 else f"{_shown(wrong[0].leaf)} in {name}"
    others = f", nor those of {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"the bytes of {first} are not the ones that were saved{others}"


def _shown(leaf: str | None) -> str:
    """Return a name such that printing it can't steer the terminal."""
    if leaf is None:
        return "the header"
    return leaf[:LONGEST_NAME] if leaf.isprintable() else repr(leaf[:LONGEST_NAME])
