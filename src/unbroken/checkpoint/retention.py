"""Which checkpoints may be deleted: a pure function of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """What retention needs to know of one checkpoint, listed from oldest to newest."""

    name: str
    metric: float | None = None
    """The score to keep the best by (lower is better); None where none was measured."""


def deletions(checkpoints: Sequence[Kept], *, keep_last: int, keep_best: int) -> list[str]:
    """Return the names to delete, oldest first; never the newest, never one of the best.

    Args:
        checkpoints: All verified checkpoints of the run, oldest first.
        keep_last: How many of the newest stay; at least one always does.
        keep_best: How many with the lowest metric stay.
    """
    newest = {each.name for each in checkpoints[-max(1, keep_last) :]}
    scored = sorted(
        (each for each in checkpoints if each.metric is not None and each.metric == each.metric),
        key=lambda each: each.metric or 0.0,
    )
    best = {each.name for each in scored[:keep_best]}
    return [each.name for each in checkpoints if each.name not in newest | best]
