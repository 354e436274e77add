"""Chooses new pieces of a tokenizer so that every one of them is used.

A piece that no text is ever cut into is a row of the model that never learns, and a place that
another piece could have had. SentencePiece's own merges leave such pieces: `ab` is dead if it always
goes on to `abc`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final

from unbroken_tts.progress import Progress

_PATIENCE: Final = 60
"""Rounds after which places stay empty and letters are uncovered in large steps; a dozen is usual."""

Uses = Callable[[Sequence[str]], Mapping[str, int]]
"""Returns how often each of some new pieces is used, if exactly these are appended to the base."""


def used_pieces(
    candidates: Iterable[str],
    letters: Sequence[str],
    wanted: int,
    uses: Uses,
    *,
    has_steps: bool,
    progress: Progress,
) -> list[str]:
    """Return up to `wanted` pieces: the letters, and the first candidates that are used.

    A dead candidate gives its place to the next one. A letter can't: text in which it stands alone
    would be unknown. So it is uncovered: the least used pieces that contain it go, until it is used.

    Args:
        candidates: Pieces of two characters or more, the best first.
        letters: Single characters, which all occur in the texts.
        wanted: Number of pieces, at least that of the letters.
        uses: Tries a choice.
        has_steps: Whether a piece may be needed only as a step to longer ones (BPE). A dead step is
            uncovered like a letter.
        progress: Called with the number of pieces in use, and `wanted`.
    """
    waiting = deque(candidates)
    hard: set[str] = set()

    def refilled(chosen: list[str]) -> list[str]:
        while waiting and len(chosen) < wanted - len(letters):
            candidate = waiting.popleft()
            if hard.isdisjoint(candidate):
                chosen.append(candidate)
        return chosen

    chosen = refilled([])
    for number in count(1):
        found = uses([*chosen, *letters])
        dead = [piece for piece in [*chosen, *letters] if not found.get(piece)]
        progress(len(chosen) + len(letters) - len(dead), wanted)
        if not dead:
            return [*chosen, *letters]
        gone: set[str] = set()
        for piece in dead:
            is_letter = len(piece) == 1
            covers = _covers(piece, chosen, found) if is_letter or has_steps else []
            if is_letter:
                hard.add(piece)
            most = 1 if number <= _PATIENCE else len(covers) // 2 + 1
            gone.update(covers[:most] or [piece])
        kept = [piece for piece in chosen if piece not in gone]
        if len(kept) == len(chosen):  # only pieces of the base stand in the way of a letter
            return [*chosen, *letters]
        if number == _PATIENCE:
            waiting.clear()
        chosen = refilled(kept)
    raise AssertionError


def _covers(piece: str, chosen: Sequence[str], found: Mapping[str, int]) -> list[str]:
    """Return the used pieces that contain another one, the least used first."""
    around = [each for each in chosen if piece in each and each != piece and found.get(each)]
    return sorted(around, key=lambda each: found[each])
