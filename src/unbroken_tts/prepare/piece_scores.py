"""Fits the scores of new pieces of a unigram tokenizer by expectation maximisation.

The model is Kudo's unigram model (https://arxiv.org/abs/1804.10959): a word may be spelt in several
ways, a way is as probable as the product of its pieces. The base's scores stay fixed.

Two things follow from the base. New scores lie between the lowest and the highest of the base:
SentencePiece derives the scores of unknown characters and of user-defined pieces from these two, so
outside of them old texts could be cut otherwise. And the logarithms of the new probabilities are
scaled by `TEMPER` and put at the low end: a base gives its U+2581 a score near 0, so with the plain
logarithms a word would nearly always be spelt with a lone U+2581. Measured: docs/indextts2.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LONGEST = 16
"""Characters of the longest piece, as in SentencePiece's own training."""
TEMPER = 0.1
"""Factor on the logarithms of the new probabilities."""
_ROUNDS = 3
_NEVER = -1e30
_LEAST = 1e-3

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _SameLength:
    """All words of one length: every way to end a piece at every character."""

    pieces: npt.NDArray[np.int32]
    """(W, n, L): number of the piece of k + 1 characters that ends at a character."""
    counts: Numbers
    """(W,) occurrences."""


class PieceScores:
    """The scores of pieces that spell words together with the fixed pieces of a base.

    Args:
        words: Word -> occurrences; every character is a fixed or a new piece.
        fixed: Piece of the base -> score.
        new: New pieces, each once.
        lowest: Lowest score of the base; new scores are not below.
        highest: Highest score of the base; new scores are not above.
    """

    def __init__(
        self,
        words: Mapping[str, int],
        fixed: Mapping[str, float],
        new: Sequence[str],
        lowest: float,
        highest: float,
    ) -> None:
        self._number = {piece: number for number, piece in enumerate([*fixed, *new])}
        self._fixed = np.array(list(fixed.values()), dtype=np.float64)
        self._range = (lowest, highest)
        self._logs = np.zeros(len(new))
        self._lattices = [_lattice(same, words, self._number) for same in _by_length(words)]

    def fit(self, pieces: Sequence[str]) -> dict[str, float]:
        """Return the scores of some of the new pieces, with which the words are most probable.

        It begins with the scores of the last call.
        """
        chosen = np.array([self._number[piece] for piece in pieces], dtype=np.int64)
        scores = self._scores(chosen)
        for _ in range(_ROUNDS):
            expected = np.maximum(self._expected(scores)[chosen], _LEAST)
            self._logs[chosen - len(self._fixed)] = np.log(expected / expected.sum())
            scores = self._scores(chosen)
        names = list(self._number)
        return {names[number]: float(scores[number]) for number in chosen.tolist()}

    def _scores(self, chosen: npt.NDArray[np.int64]) -> Numbers:
        """Return the scores of all pieces and, last, of no piece; those not chosen never occur."""
        lowest, highest = self._range
        logs = self._logs[chosen - len(self._fixed)]
        scores = np.full(len(self._number) + 1, _NEVER)
        scores[: len(self._fixed)] = self._fixed
        scores[chosen] = np.clip(lowest + TEMPER * (logs - logs.min()), lowest, highest)
        return scores

    def _expected(self, scores: Numbers) -> Numbers:
        """Return how often each piece is expected in all words (forward and backward pass)."""
        found = np.zeros(len(scores))
        for lattice in self._lattices:
            width, length, most = lattice.pieces.shape
            edges = scores[lattice.pieces]
            before = np.full((width, length + 1), _NEVER)
            after = before.copy()
            before[:, 0] = after[:, length] = 0.0
            for end in range(length):
                size = min(end + 1, most)
                ways = before[:, end + 1 - size : end + 1][:, ::-1] + edges[:, end, :size]
                before[:, end + 1] = np.logaddexp.reduce(ways, axis=1)
            for start in range(length - 1, -1, -1):
                sizes = np.arange(min(length - start, most))
                ways = after[:, start + 1 + sizes] + edges[:, start + sizes, sizes]
                after[:, start] = np.logaddexp.reduce(ways, axis=1)
            for end in range(length):
                size = min(end + 1, most)
                share = before[:, end + 1 - size : end + 1][:, ::-1] + edges[:, end, :size]
                share += (after[:, end + 1] - before[:, length])[:, None]
                weights = np.exp(np.minimum(share, 0.0)) * lattice.counts[:, None]
                numbers = lattice.pieces[:, end, :size].ravel()
                found += np.bincount(numbers, weights.ravel(), minlength=len(found))
        return found


def _by_length(words: Mapping[str, int]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for word in sorted(words):
        groups.setdefault(len(word), []).append(word)
    return [groups[length] for length in sorted(groups)]


def _lattice(same: list[str], words: Mapping[str, int], number: Mapping[str, int]) -> _SameLength:
    length, none = len(same[0]), len(number)
    most = min(length, LONGEST)
    found = [
        number.get(word[end - size : end + 1], none) if size <= end else none
        for word in same
        for end in range(length)
        for size in range(most)
    ]
    return _SameLength(
        np.array(found, dtype=np.int32).reshape(len(same), length, most),
        np.array([words[word] for word in same], dtype=np.float64),
    )
