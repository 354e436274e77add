"""What changed between looks and is in no state: what a stop would lose.

What a program keeps only to save time changes as well: a table that is made once, or made longer when
a longer sample comes. So a value that was absent before is none, a table that grows counts only if it
grows at each step, and a number only if it moves at each step, or long after the first ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from unbroken.audit.look import Kind, Look, Sight
from unbroken.audit.saved import attribute_name
from unbroken.audit.walk import Reached

_AT_ONCE: Final = {Kind.TENSOR, Kind.BUFFER, Kind.ARRAY, Kind.GENERATOR}
"""Kinds of which one change tells enough."""


def changed(looks: Sequence[Look], *, is_later: bool, flags: Collection[str] = ()) -> list[Reached]:
    """Return what changed and is not saved, as it was reached at the last look.

    Args:
        looks: Before the first step, after it and after the second, as far as they were taken; or
            two that lie far apart.
        is_later: Whether it is those two.
        flags: Paths of flags that were set in the first step while what they stand for was written.
    """
    counts: dict[str, int] = dict.fromkeys(flags, 2)
    for earlier, later in pairwise(looks):
        for path in _changes(earlier, later):
            kind = later.sights[path].kind
            is_enough = kind in _AT_ONCE and not later.sights[path].has_grown
            is_enough = is_enough or (is_later and kind in (Kind.NUMBER, Kind.TEXT))
            counts[path] = counts.get(path, 0) + (2 if is_enough else 1)
    last = looks[-1]
    return [
        last.reached[path]
        for path in last.sights
        if counts.get(path, 0) >= 2 and path in last.reached
    ]


def _changes(earlier: Look, later: Look) -> set[str]:
    """Return the paths of what was there both times, is another now, and is not saved."""
    paths = {
        path
        for path, now in later.sights.items()
        if (then := earlier.sights.get(path)) is not None and _is_lost(then, now)
    }
    plain = {
        path for path in paths if later.sights[path].kind in (Kind.NUMBER, Kind.TEXT, Kind.FLAG)
    }
    return (
        paths
        - {
            path
            for path in plain
            if _is_clock(earlier, later, path) or _is_size(earlier, later, path)
        }
        - _in_numbers(plain, earlier, later)
    )


def _is_lost(then: Sight, now: Sight) -> bool:
    if now.is_saved or then.kind is not now.kind or then.content == now.content:
        return False
    if repr(then.content) == repr(now.content):  # not a number, both times
        return False
    # A buffer that is not persistent and grows is a table.
    return not (now.kind is Kind.BUFFER and now.shape != then.shape)


def _is_clock(earlier: Look, later: Look, path: str) -> bool:
    """Say whether a number is a time of day, or since the process or the machine was started."""
    value = later.sights[path].content
    clocks = zip(earlier.clocks, later.clocks, strict=True)
    return isinstance(value, float) and any(a <= value <= b for a, b in clocks)


def _is_size(earlier: Look, later: Look, path: str) -> bool:
    """Say whether a number is the size of a table beside it, and moved with that."""
    return all(each.sights[path].content in _sizes_beside(each, path) for each in (earlier, later))


def _sizes_beside(at: Look, path: str) -> set[int]:
    holder = path.rpartition(".")[0]
    return {
        size
        for other, sight in at.sights.items()
        if sight.shape and other.rpartition(".")[0] == holder
        for size in sight.shape
    }


def _in_numbers(paths: set[str], earlier: Look, later: Look) -> set[str]:
    """Return those that their part saves: under their own name, or under another, once each."""
    found: set[str] = set()
    for part, saved in later.numbers.items():
        before = earlier.numbers.get(part, {})
        moved = {path: (before.get(path), value) for path, value in saved.items()}
        by_name = [(attribute_name(path), pair) for path, pair in moved.items()]
        mine = {
            path: (earlier.sights[path].content, later.sights[path].content)
            for path in paths
            if path == part or path.startswith(f"{part}.")
        }
        named = {path for path, pair in mine.items() if (attribute_name(path), pair) in by_name}
        claimed = {attribute_name(path) for path in named} | _names_of_optimizers(moved)
        left = [pair for name, pair in by_name if name not in claimed]
        for path in sorted(mine.keys() - named):
            if mine[path] in left:
                left.remove(mine[path])
                named.add(path)
        found |= named
    return found


def _names_of_optimizers(saved: Mapping[str, Any]) -> set[str]:
    """Return the names of an optimizer's own state, which stand for no attribute of another name."""
    return {attribute_name(path) for path in saved if path.startswith(("state.", "groups."))}
