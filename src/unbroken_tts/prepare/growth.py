"""One extension of a tokenizer in the making: what the texts need, and which pieces they get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unbroken_tts.prepare.letters import (
    SPACE,
    has_letter,
    is_mark,
    is_of_script,
    segments_of,
    words_of,
)
from unbroken_tts.prepare.piece_scores import PieceScores
from unbroken_tts.prepare.tokenizers import (
    SPECIAL_PIECES,
    kind_of,
    parsed,
    processor,
    train_tokenizer,
)
from unbroken_tts.prepare.used_pieces import used_pieces
from unbroken_tts.progress import Progress

_SPARE = 1.5
"""Candidates for each wanted piece: some turn out dead."""
_FEWER = 0.85
"""Factor on the number of pieces, where the texts don't use as many."""
_USER_DEFINED_LESS = 0.1
"""SentencePiece's score of a user-defined piece: its length times the highest score, less this."""


class Growth:
    """What a base has, and what texts need.

    Args:
        base_model: The serialised base.
        texts: Normalised texts of the new language.
        script: First word of the letters' Unicode names.

    Raises:
        DataInvalid: The base is not a SentencePiece model.
    """

    def __init__(self, base_model: bytes, texts: Sequence[str], script: str) -> None:
        self.kind = kind_of(base_model)
        self.script = script
        self.base_model = base_model
        self.base = processor(base_model)
        proto = parsed(base_model)
        self.size = len(proto.pieces)
        self.pieces = {each.piece: each for each in proto.pieces}
        normal = [each.score for each in proto.pieces if each.type == each.NORMAL]
        self.range = (min(normal, default=0.0), max(normal, default=0.0))
        self.words = words_of(self.base.Normalize(list(texts)))
        self.segments: Counter[str] = Counter()
        for word, count in self.words.items():
            for segment in segments_of(word, script):
                self.segments[segment] += count
        seen = {each for word in self.words for each in word} - set(self.pieces)
        self.letters = sorted(each for each in seen if is_of_script(each, script))
        self.marks = sorted(each for each in seen if self._is_missing_mark(each))

    def _is_missing_mark(self, character: str) -> bool:
        """Return whether a mark is unknown; one within a longer piece could change old cuts."""
        return (
            is_mark(character)
            and self.base.unk_id() in self.base.EncodeAsIds(character)
            and not any(character in piece for piece in self.pieces)
        )

    def candidates(self, wanted: int) -> list[str]:
        """Return the merges of the texts' words in order: twice as many as can be needed."""
        lines = [
            " ".join([segment.strip(SPACE)] * count)
            for segment, count in sorted(self.segments.items())
        ]
        have = len({each for line in lines for each in line if each != " "})
        size = int(_SPARE * wanted) + have + 1 + SPECIAL_PIECES
        trained = processor(train_tokenizer(lines, size))
        found = (trained.IdToPiece(number) for number in range(trained.GetPieceSize()))
        return [
            piece
            for piece in list(found)[SPECIAL_PIECES:]
            if len(piece) > 1 and piece not in self.pieces
        ]

    def with_pieces(self, scores: Mapping[str, float]) -> bytes:
        """Return the base with new pieces appended, in order."""
        proto = parsed(self.base_model)
        for piece, score in scores.items():
            proto.pieces.add(piece=piece, score=score)
        proto.trainer_spec.vocab_size = len(proto.pieces)
        return bytes(proto.SerializeToString(deterministic=True))

    def fixed(self) -> dict[str, float]:
        """Return the base's pieces that can spell a part of the texts, with their scores."""
        highest = self.range[1]
        found = {}
        for piece, each in self.pieces.items():
            if piece != SPACE and not has_letter(piece, self.script):
                continue
            if each.type == each.NORMAL:
                found[piece] = each.score
            elif each.type == each.USER_DEFINED:
                found[piece] = len(piece) * highest - _USER_DEFINED_LESS
        return found

    def tried(self, scores: dict[str, float]) -> Trial:
        """Cut the texts with these new pieces."""
        encoder = processor(self.with_pieces(scores))
        found: Counter[int] = Counter()
        tokens = 0
        words = list(self.words)
        encoded = encoder.EncodeAsIds([word.replace(SPACE, " ").strip() for word in words])
        for word, ids in zip(words, encoded, strict=True):
            tokens += self.words[word] * len(ids)
            for number in ids:
                found[number] += self.words[word]
        names = list(scores)
        uses = {
            names[number - self.size]: count
            for number, count in found.items()
            if number >= self.size
        }
        return Trial(scores, uses, tokens)


@dataclass(frozen=True, slots=True)
class Trial:
    """How some new pieces cut the texts."""

    scores: dict[str, float]
    """The new pieces."""
    uses: Mapping[str, int]
    """How often the texts use those that they use."""
    tokens: int
    """Tokens of all texts."""


def chosen_pieces(growth: Growth, wanted: int, progress: Progress) -> dict[str, float]:
    """Return the new pieces but marks, with their scores.

    Texts that don't use as many pieces as wanted are left with a poor choice, because pieces had to
    make room for letters. So fewer are tried as well, and the choice with the fewest tokens counts.
    """
    candidates = growth.candidates(wanted)
    fit = _scorer(growth, candidates)
    best: Trial | None = None
    size = min(wanted, len(candidates) + len(growth.letters))
    while True:
        found = _tried(growth, candidates, size, fit, progress)
        if best is None or found.tokens < best.tokens:
            best = found
        if len(found.scores) == size:
            return best.scores
        size = max(len(growth.letters), int(_FEWER * size))


def _tried(
    growth: Growth,
    candidates: Sequence[str],
    size: int,
    fit: Callable[[Sequence[str]], dict[str, float]],
    progress: Progress,
) -> Trial:
    last: list[Trial] = []

    def uses(pieces: Sequence[str]) -> Mapping[str, int]:
        last[:] = [growth.tried(fit(pieces))]
        return last[0].uses

    used_pieces(
        candidates,
        growth.letters,
        size,
        uses,
        has_steps=growth.kind == "bpe",
        progress=progress,
    )
    return last[0]


def _scorer(
    growth: Growth, candidates: Sequence[str]
) -> Callable[[Sequence[str]], dict[str, float]]:
    """Return the function that gives new pieces their scores."""
    lowest, highest = growth.range
    if growth.kind == "unigram":
        new = [*candidates, *growth.letters]
        return PieceScores(growth.segments, growth.fixed(), new, lowest, highest).fit
    return lambda pieces: {piece: lowest - number for number, piece in enumerate(pieces, start=1)}
