"""Extends a SentencePiece tokenizer with the pieces of a new script, and proves what stays.

An extension keeps the ids of the base. Every new piece contains a letter of the new script or is a
mark that the base doesn't know, so text without these is encoded exactly as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbroken import SettingsInvalid
from unbroken_tts.prepare.growth import Growth, chosen_pieces
from unbroken_tts.prepare.letters import has_letter, script_letters
from unbroken_tts.prepare.old_texts import texts_of_pieces
from unbroken_tts.prepare.tokenizers import UnknownRate, processor, unknown_rate
from unbroken_tts.prepare.unchanged_ids import prove_unchanged
from unbroken_tts.progress import Progress, ignore_progress

_ADVICE = "Choose another size, or give more text."


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
    growth = Growth(base_model, texts, script)
    target_size = 2 * growth.size if target_size is None else target_size
    unseen = [
        each
        for each in (script_letters(script) if all_letters else ())
        if each not in growth.pieces and each not in growth.letters
    ]
    wanted = target_size - growth.size - len(growth.marks) - len(unseen)
    _require_room(growth, target_size - growth.size, wanted)
    scores = chosen_pieces(growth, wanted, progress)
    for each in [*unseen, *growth.marks]:
        scores[each] = growth.range[0] - (0 if growth.kind == "unigram" else len(scores) + 1)
    return _verified(growth, scores, target_size, texts, base_texts)


def _verified(
    growth: Growth,
    scores: Mapping[str, float],
    asked: int,
    texts: Sequence[str],
    base_texts: Sequence[str],
) -> Extension:
    """Build the extension and prove what it promises.

    Raises:
        DataInvalid: An old text is encoded otherwise.
    """
    model = growth.with_pieces(scores)
    marks = "".join(growth.marks)
    old = [text for text in base_texts if not has_letter(text, growth.script)]
    with_marks = prove_unchanged(growth.base_model, model, old, marks)
    own = texts_of_pieces(growth.pieces, growth.script)
    prove_unchanged(growth.base_model, model, own, marks)
    size = growth.size + len(scores)
    encoder = processor(model)
    used = {number for ids in encoder.EncodeAsIds(list(texts)) for number in ids}
    return Extension(
        model=model,
        kind=growth.kind,
        base_size=growth.size,
        size=size,
        asked=asked,
        marks=marks,
        dead=sum(number not in used for number in range(growth.size, size)),
        base_texts_compared=len(old),
        base_texts_with_marks=with_marks,
        before=unknown_rate(growth.base, texts),
        after=unknown_rate(encoder, texts),
    )


def _require_room(growth: Growth, room: int, wanted: int) -> None:
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
