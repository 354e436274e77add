"""Trains SentencePiece tokenizers, and extends them with the pieces of a new script.

An extension keeps the ids of the base. Every new piece contains a letter of the new script, so text
without such letters is encoded exactly as before.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from unbroken import DataInvalid, SettingsInvalid

# Generated code whose classes are made at import, so type checkers do not see them.
_PROTO: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
_SPACE = "\u2581"
_SPECIAL_PIECES = 3
_ALPHABET_SHARE = 4
_ADVICE = "Choose another size, or give more text."


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRate:
    """The share of some texts for which a tokenizer has no piece."""

    tokens: int
    """Tokens of all texts."""
    unknown: int
    """Tokens that are `<unk>`."""
    texts: int
    """Number of texts."""
    texts_with_unknown: int
    """Texts with at least one `<unk>`."""
    characters: str
    """The characters without a piece, sorted, each once."""

    @property
    def share(self) -> float:
        """Unknown tokens over tokens, 0 to 1."""
        return self.unknown / self.tokens if self.tokens else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A tokenizer extended for a new script, with the results of its verification."""

    model: bytes
    """The serialised SentencePiece model."""
    base_size: int
    """Pieces of the base; ids 0 to base_size - 1 are unchanged."""
    size: int
    """Pieces now."""
    base_texts_compared: int
    """Number of texts in the old language whose encodings were verified to be equal."""
    before: UnknownRate
    """Unknown rate of the new texts with the base."""
    after: UnknownRate
    """Unknown rate of the new texts with the extension."""


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """Return an encoder for a serialised model.

    Raises:
        DataInvalid: The bytes are not a SentencePiece model.
    """
    encoder = sentencepiece.SentencePieceProcessor()
    try:
        is_model = bool(model) and encoder.LoadFromSerializedProto(model)
    except RuntimeError:
        is_model = False
    if not is_model:
        raise DataInvalid(
            f"These {len(model)} bytes are not a SentencePiece model.",
            "Texts can't be encoded without one.",
            "Name a `.model` file written by SentencePiece.",
        )
    return encoder


def train_tokenizer(texts: Iterable[str], size: int) -> bytes:
    """Train a BPE tokenizer; equal texts give equal bytes.

    Ids 0, 1 and 2 are `<s>`, `</s>` and `<unk>`; there is no padding piece and no further
    normalisation: texts must be normalised already, as at encoding.

    Args:
        texts: Normalised texts.
        size: Number of pieces, including the three special ones; fewer if the texts don't have so
            many.

    Raises:
        SettingsInvalid: There is no text, or the size is less than the number of characters.
    """
    lines = [text for text in texts if text]
    alphabet = {character for line in lines for character in line if character != " "}
    least = len(alphabet) + 1 + _SPECIAL_PIECES
    if not lines or size < least:
        raise SettingsInvalid(
            f"The tokenizer is to have {size} pieces, from {len(lines)} texts "
            f"with {len(alphabet)} different characters.",
            f"Single characters, the space and the three special pieces need {least}.",
            _ADVICE,
        )
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        model_type="bpe",
        vocab_size=min(size, _most_pieces(lines)),
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        num_threads=1,
        shuffle_input_sentence=False,
        input_sentence_size=0,
        max_sentence_length=1 << 20,
        minloglevel=2,
    )
    return written.getvalue()


def _most_pieces(lines: Sequence[str]) -> int:
    """Return an upper bound for the size of BPE: the number of distinct parts of all words."""
    words = {f"{_SPACE}{word}" for line in lines for word in line.split()}
    longest = 16
    parts = {
        word[start:end]
        for word in words
        for start in range(len(word))
        for end in range(start + 1, min(start + longest, len(word)) + 1)
    }
    return len(parts) + _SPECIAL_PIECES


def _is_of_script(character: str, script: str) -> bool:
    return unicodedata.name(character, "").startswith(f"{script.upper()} ") and (
        unicodedata.category(character) in {"Lo", "Ll", "Lu", "Lm", "Mn", "Mc"}
    )


def _runs(text: str, script: str) -> list[str]:
    """Return the parts of `text` in the script, as words."""
    kept = (character if _is_of_script(character, script) else " " for character in text)
    return "".join(kept).split()


def _script_alphabet(script: str) -> list[str]:
    return [chr(point) for point in range(0x20000) if _is_of_script(chr(point), script)]


def _new_pieces(texts: Sequence[str], script: str, wanted: int, present: set[str]) -> list[str]:
    runs = [" ".join(_runs(text, script)) for text in texts]
    seen = sorted({character for run in runs for character in run if character != " "} - present)
    if not seen:
        raise SettingsInvalid(
            f"The texts have no letter of the script {script} that is missing in the base.",
            "There is nothing to add to the tokenizer.",
            "Use the base as it is (--tokenizer), or name the script of the texts (--script).",
        )
    if wanted < len(seen):
        raise SettingsInvalid(
            f"There is room for {wanted} new pieces, and the texts have {len(seen)} letters of the "
            f"script {script} that are missing in the base.",
            "Each letter needs its own piece; without one the model can't read it.",
            _ADVICE,
        )
    alphabet = [letter for letter in _script_alphabet(script) if letter not in present]
    # Letters of the script that the texts don't contain get a piece if there is plenty of room.
    letters = alphabet if wanted >= _ALPHABET_SHARE * len(alphabet) else seen
    trained = processor(train_tokenizer(runs, wanted + len(present) + 1 + _SPECIAL_PIECES))
    pieces = [trained.IdToPiece(index) for index in range(_SPECIAL_PIECES, trained.GetPieceSize())]
    merged = [piece for piece in pieces if len(piece) > 1 and piece not in present]
    return merged[: wanted - len(letters)] + letters


def _has_letter(piece: str, script: str) -> bool:
    return any(_is_of_script(character, script) for character in piece)


def extend(
    base_model: bytes,
    texts: Sequence[str],
    target_size: int,
    *,
    script: str = "Ethiopic",
    base_texts: Sequence[str] = (),
) -> Extension:
    """Append pieces of a new script to a tokenizer.

    New pieces score below all pieces of the base and keep the order in which they were merged, so
    the base's merges are applied first. The result is verified: the base's pieces, kinds and scores,
    and the encoding of every base text.

    Args:
        base_model: The serialised base tokenizer.
        texts: Normalised texts of the new language.
        target_size: Total number of pieces; fewer if the texts don't have so many.
        script: First word of the letters' Unicode names.
        base_texts: Normalised texts in the old languages to compare; those with letters of the new
            script are skipped.

    Raises:
        DataInvalid: The base is not a SentencePiece model.
        SettingsInvalid: The target size is too small for the letters of the new script.
    """
    base = processor(base_model)
    proto = _PROTO()
    proto.ParseFromString(base_model)
    base_size = len(proto.pieces)
    present = {piece.piece for piece in proto.pieces}
    lowest = min((piece.score for piece in proto.pieces), default=0.0)
    pieces = _new_pieces(texts, script, target_size - base_size, present)
    assert all(_has_letter(piece, script) for piece in pieces)
    for number, piece in enumerate(pieces, start=1):
        proto.pieces.add(piece=piece, score=lowest - number)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    model = proto.SerializeToString(deterministic=True)
    extended = processor(model)
    compared = [text for text in base_texts if not _has_letter(text, script)]
    _prove_unchanged(base_model, model, compared)
    return Extension(
        model=model,
        base_size=base_size,
        size=extended.GetPieceSize(),
        base_texts_compared=len(compared),
        before=unknown_rate(base, texts),
        after=unknown_rate(extended, texts),
    )


def _prove_unchanged(base_model: bytes, model: bytes, texts: Sequence[str]) -> None:
    before = _PROTO()
    before.ParseFromString(base_model)
    after = _PROTO()
    after.ParseFromString(model)
    assert list(before.pieces) == list(after.pieces[: len(before.pieces)])
    old, new = processor(base_model), processor(model)
    for text in texts:
        if old.EncodeAsIds(text) != new.EncodeAsIds(text):
            raise DataInvalid(
                f"The extended tokenizer encodes this old text differently: {text!r}.",
                "The base model was trained with the old ids.",
                "Please report this with the text and the base tokenizer.",
            )


def unknown_rate(
    encoder: sentencepiece.SentencePieceProcessor, texts: Iterable[str]
) -> UnknownRate:
    """Return the share of `texts` for which there is no piece."""
    unknown_id = encoder.unk_id()
    tokens = unknown = count = with_unknown = 0
    characters: set[str] = set()
    for text in texts:
        ids = encoder.EncodeAsIds(text)
        missing = ids.count(unknown_id)
        count, tokens, unknown = count + 1, tokens + len(ids), unknown + missing
        if missing:
            with_unknown += 1
            lone = (letter for letter in set(text) if unknown_id in encoder.EncodeAsIds(letter))
            characters.update(lone)
    return UnknownRate(
        tokens=tokens,
        unknown=unknown,
        texts=count,
        texts_with_unknown=with_unknown,
        characters="".join(sorted(characters)),
    )
