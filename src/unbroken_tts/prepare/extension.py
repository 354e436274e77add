"""Extends a SentencePiece tokenizer with the pieces of a new script, and proves what stays.

An extension keeps the ids of the base. Every new piece contains a letter of the new script or is a
mark that the base doesn't know, so text without these is encoded exactly as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.prepare.letters import (
    SPACE,
    has_letter,
    is_mark,
    is_of_script,
    script_letters,
    segments_of,
    words_of,
)
from unbroken_tts.prepare.old_texts import texts_of_pieces
from unbroken_tts.prepare.piece_scores import PieceScores
from unbroken_tts.prepare.tokenizers import (
    SPECIAL_PIECES,
    UnknownRate,
    kind_of,
    parsed,
    processor,
    train_tokenizer,
    unknown_rate,
)
from unbroken_tts.prepare.used_pieces import used_pieces
from unbroken_tts.progress import Progress, ignore_progress

_ADVICE = "Choose another size, or give more text."
_SPARE = 1.5
"""Candidates for each wanted piece: some turn out dead."""
_FEWER = 0.85
"""Factor on the number of pieces, where the texts don't use as many."""
_USER_DEFINED_LESS = 0.1
"""SentencePiece's score of a user-defined piece: its length times the highest score, less this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A tokenizer extended for a new script, with the results of its verification."""

    model: bytes
    """The serialised SentencePiece model."""
    kind: str
    """`unigram` or `bpe`: the base's kind, which the extension keeps."""
    base_size: int
    """Pieces of the base; ids 0 to base_size - 1 are unchanged."""
    size: int
    """Pieces now."""
    asked: int
    """Pieces that were asked for."""
    marks: str
    """Appended marks: the texts need them, and the base has no piece for them."""
    dead: int
    """Appended pieces that the new texts never use; 0 unless letters were asked for beyond them."""
    base_texts_compared: int
    """Texts in the old languages whose ids were verified to be equal."""
    base_texts_with_marks: int
    """Of these, texts with an appended mark: equal but for it, which was unknown before."""
    before: UnknownRate
    """Unknown rate of the new texts with the base."""
    after: UnknownRate
    """Unknown rate of the new texts with the extension."""

    def text(self) -> str:
        """Return the result as lines of text."""
        lines = [
            (
                f"{self.kind}, {self.size} pieces, {self.size - self.base_size} of them new, "
                f"{self.dead} never used"
            ),
            f"Unknown    {self.after}",
            f"  before   {self.before}",
            f"  old ids  unchanged; {self.base_texts_compared} texts in the old language verified",
        ]
        return "\n".join([*lines, *(f"Note       {note}" for note in self.notes())])

    def notes(self) -> list[str]:
        """Return what a user should know beyond the numbers."""
        found = []
        if self.size < self.asked:
            found.append(
                f"the tokenizer has {self.size} pieces, not {self.asked}: the texts use no more"
            )
        if self.marks:
            found.append(
                f"the marks {' '.join(self.marks)} were appended: the texts need them, and the base "
                "had no piece for them. Old texts that contain one get its id in place of <unk> "
                f"({self.base_texts_with_marks} of {self.base_texts_compared}); all other old ids stay"
            )
        return found


class _Growth:
    """One extension in the making: what the base has, and what the texts need."""

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

    def tried(self, scores: dict[str, float]) -> _Trial:
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
        return _Trial(scores, uses, tokens)


@dataclass(frozen=True, slots=True)
class _Trial:
    scores: dict[str, float]
    """The new pieces."""
    uses: Mapping[str, int]
    """How often the texts use those that they use."""
    tokens: int
    """Tokens of all texts."""


def extend(
    base_model: bytes,
    texts: Sequence[str],
    target_size: int | None,
    *,
    script: str = "Ethiopic",
    base_texts: Sequence[str] = (),
    all_letters: bool = False,
    progress: Progress = ignore_progress,
) -> Extension:
    """Append pieces of a new script, and the marks that the texts need, to a tokenizer.

    Every appended piece is used by the texts. A unigram base gets scores fitted on the texts with its
    own fixed (`piece_scores`). New pieces of a BPE base score below all of its own and keep the order
    in which they were merged, so the base's merges are applied first. The result is verified: the
    base's pieces, kinds and scores, and the encoding of every base text and of texts made of the
    base's own pieces.

    Args:
        base_model: The serialised base tokenizer, unigram or BPE.
        texts: Normalised texts of the new language.
        target_size: Total number of pieces; fewer if the texts don't use so many. None is twice the
            base's.
        script: First word of the letters' Unicode names.
        base_texts: Normalised texts in the old languages to compare; those with letters of the new
            script are skipped.
        all_letters: Also append the letters of the script that the texts don't contain.
        progress: Called with the number of new pieces in use, and the number wanted.

    Raises:
        DataInvalid: The base is not a SentencePiece model.
        SettingsInvalid: The base is of another kind, the target size is too small, or there is
            nothing to add.
    """
    growth = _Growth(base_model, texts, script)
    target_size = 2 * growth.size if target_size is None else target_size
    unseen = [
        each
        for each in (script_letters(script) if all_letters else ())
        if each not in growth.pieces and each not in growth.letters
    ]
    wanted = target_size - growth.size - len(growth.marks) - len(unseen)
    _require_room(growth, target_size - growth.size, wanted)
    scores = _chosen(growth, wanted, progress)
    for each in [*unseen, *growth.marks]:
        scores[each] = growth.range[0] - (0 if growth.kind == "unigram" else len(scores) + 1)
    model = growth.with_pieces(scores)
    marks = "".join(growth.marks)
    old = [text for text in base_texts if not has_letter(text, script)]
    with_marks = prove_unchanged(base_model, model, old, marks)
    prove_unchanged(base_model, model, texts_of_pieces(growth.pieces, script), marks)
    used = _used(model, texts)
    return Extension(
        model=model,
        kind=growth.kind,
        base_size=growth.size,
        size=growth.size + len(scores),
        asked=target_size,
        marks=marks,
        dead=sum(number not in used for number in range(growth.size, growth.size + len(scores))),
        base_texts_compared=len(old),
        base_texts_with_marks=with_marks,
        before=unknown_rate(growth.base, texts),
        after=unknown_rate(processor(model), texts),
    )


def _require_room(growth: _Growth, room: int, wanted: int) -> None:
    if growth.kind not in {"unigram", "bpe"}:
        raise SettingsInvalid(
            f"The base is a SentencePiece model of the kind {growth.kind}.",
            "Only unigram and BPE models can be extended: other kinds don't join letters to pieces.",
            "Name a unigram or BPE base, or train a tokenizer (--train-tokenizer).",
        )
    if not growth.letters:
        raise SettingsInvalid(
            f"The texts have no letter of the script {growth.script} that is missing in the base.",
            "There is nothing to add to the tokenizer.",
            "Use the base as it is (--tokenizer), or name the script of the texts (--script).",
        )
    if wanted < len(growth.letters):
        marks = f" and {len(growth.marks)} marks" if growth.marks else ""
        raise SettingsInvalid(
            f"There is room for {room} new pieces, and the texts have {len(growth.letters)} letters "
            f"of the script {growth.script}{marks} that are missing in the base.",
            "Each letter needs its own piece; without one the model can't read it.",
            _ADVICE,
        )


def _chosen(growth: _Growth, wanted: int, progress: Progress) -> dict[str, float]:
    """Return the new pieces but marks, with their scores.

    Texts that don't use as many pieces as wanted are left with a poor choice, because pieces had to
    make room for letters. So fewer are tried as well, and the choice with the fewest tokens counts.
    """
    candidates = growth.candidates(wanted)
    fit = _scorer(growth, candidates)
    best: _Trial | None = None
    size = min(wanted, len(candidates) + len(growth.letters))
    while True:
        found = _tried(growth, candidates, size, fit, progress)
        if best is None or found.tokens < best.tokens:
            best = found
        if len(found.scores) == size:
            return best.scores
        size = max(len(growth.letters), int(_FEWER * size))


def _tried(
    growth: _Growth,
    candidates: Sequence[str],
    size: int,
    fit: Callable[[Sequence[str]], dict[str, float]],
    progress: Progress,
) -> _Trial:
    last: list[_Trial] = []

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
    growth: _Growth, candidates: Sequence[str]
) -> Callable[[Sequence[str]], dict[str, float]]:
    """Return the function that gives new pieces their scores."""
    lowest, highest = growth.range
    if growth.kind == "unigram":
        new = [*candidates, *growth.letters]
        return PieceScores(growth.segments, growth.fixed(), new, lowest, highest).fit
    return lambda pieces: {piece: lowest - number for number, piece in enumerate(pieces, start=1)}


def _used(model: bytes, texts: Sequence[str]) -> set[int]:
    return {number for ids in processor(model).EncodeAsIds(list(texts)) for number in ids}


def prove_unchanged(base_model: bytes, model: bytes, texts: Sequence[str], marks: str = "") -> int:
    """Compare the pieces of a base and the encodings of old texts with those of an extension.

    Texts with an appended mark are compared with its id read as `<unk>` again; neighbouring `<unk>`
    count as one, as SentencePiece joins them.

    Returns:
        The number of texts that contain an appended mark.

    Raises:
        DataInvalid: A text is encoded otherwise.
    """
    before, after = parsed(base_model), parsed(model)
    assert list(before.pieces) == list(after.pieces[: len(before.pieces)])
    old, new = processor(base_model), processor(model)
    unknown = old.unk_id()
    mark_ids = {new.PieceToId(mark) for mark in marks}
    with_marks = 0
    encoded: Any = zip(
        texts, old.EncodeAsIds(list(texts)), new.EncodeAsIds(list(texts)), strict=True
    )
    for text, ours, theirs in encoded:
        if ours == theirs:
            continue
        plain = [unknown if number in mark_ids else number for number in theirs]
        if not mark_ids.intersection(theirs) or _joined(plain, unknown) != _joined(ours, unknown):
            raise DataInvalid(
                f"The extended tokenizer encodes this old text differently: {text!r}.",
                "The base model was trained with the old ids.",
                "Please report this with the text and the base tokenizer.",
            )
        with_marks += 1
    return with_marks


def _joined(ids: Sequence[int], unknown: int) -> list[int]:
    """Return ids with neighbouring unknown ones as one."""
    return [
        number
        for key, group in groupby(ids)
        for number in ([key] if key == unknown else list(group))
    ]
