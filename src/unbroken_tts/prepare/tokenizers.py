"""Reads and trains SentencePiece tokenizers, and measures what they don't know."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.tiktoken_tokenizer import looks_like_tiktoken
from unbroken_tts.data.tokenizer import Tokenizer

# Generated code whose classes are made at import, so type checkers do not see them.
_PROTO: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
_SPACE = "\u2581"
SPECIAL_PIECES = 3
"""`<s>`, `</s>` and `<unk>`."""
_KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
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

    def __str__(self) -> str:
        """Return the rate as one line."""
        letters = f": {self.characters[:40]}" if self.characters else ""
        return (
            f"{self.unknown} of {self.tokens} tokens ({100 * self.share:.2f} %), in "
            f"{self.texts_with_unknown} of {self.texts} texts{letters}"
        )


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """Return an encoder for a serialised model.

    Raises:
        DataInvalid: The bytes are not a SentencePiece model.
    """
    if looks_like_tiktoken(model):
        raise DataInvalid(
            "This tokenizer is a `.tiktoken` vocabulary, and no SentencePiece model.",
            "Pieces can't be appended to it: it has pairs of bytes, and special tokens behind them.",
            "Use it as it is, with --tokenizer, as it spells any letter by its bytes; or append merges "
            "for a script first, with `unbroken-tts tokenizer extend`.",
        )
    encoder = sentencepiece.SentencePieceProcessor()
    try:
        is_model = bool(model) and encoder.LoadFromSerializedProto(model)
        encoder.IdToPiece(list(range(encoder.GetPieceSize() if is_model else 0)))  # all are UTF-8
    except (RuntimeError, UnicodeDecodeError):
        is_model = False
    if not is_model:
        raise DataInvalid(
            f"These {len(model)} bytes are not a SentencePiece model.",
            "Texts can't be encoded without one.",
            "Name a `.model` file written by SentencePiece.",
        )
    return encoder


def parsed(model: bytes) -> Any:
    """Return the protocol buffer of a serialised model.

    Raises:
        DataInvalid: The bytes are not a SentencePiece model.
    """
    processor(model)
    proto = _PROTO()
    proto.ParseFromString(model)
    return proto


def kind_of(model: bytes) -> str:
    """Return the kind of a serialised model: `unigram`, `bpe`, `word` or `char`.

    Raises:
        DataInvalid: The bytes are not a SentencePiece model.
    """
    return _KINDS[int(parsed(model).trainer_spec.model_type)]


def train_tokenizer(texts: Iterable[str], size: int, *, kind: str = "bpe") -> bytes:
    """Train a tokenizer; equal texts give equal bytes.

    Ids 0, 1 and 2 are `<s>`, `</s>` and `<unk>`; there is no padding piece and no further
    normalisation: texts must be normalised already, as at encoding.

    Args:
        texts: Normalised texts.
        size: Number of pieces, including the three special ones; fewer if the texts don't have so
            many.
        kind: `bpe` or `unigram`.

    Raises:
        SettingsInvalid: There is no text, or the size is less than the number of characters.
    """
    lines = [text for text in texts if text]
    alphabet = {character for line in lines for character in line if character != " "}
    least = len(alphabet) + 1 + SPECIAL_PIECES
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
        model_type=kind,
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
    return len(parts) + SPECIAL_PIECES


def unknown_rate(
    encoder: sentencepiece.SentencePieceProcessor, texts: Iterable[str]
) -> UnknownRate:
    """Return the share of `texts` for which there is no piece."""
    return _rate(encoder.EncodeAsIds, encoder.unk_id(), texts)


def unknown_rate_of(tokenizer: Tokenizer, texts: Iterable[str]) -> UnknownRate:
    """Return the share of `texts` for which a tokenizer of any kind has no piece."""
    return _rate(tokenizer.encode, tokenizer.unknown_id, texts)


def _rate(encode: Callable[[str], list[int]], unknown_id: int, texts: Iterable[str]) -> UnknownRate:
    tokens = unknown = count = with_unknown = 0
    characters: set[str] = set()
    for text in texts:
        ids = encode(text)
        missing = ids.count(unknown_id)
        count, tokens, unknown = count + 1, tokens + len(ids), unknown + missing
        if missing:
            with_unknown += 1
            lone = (letter for letter in set(text) if unknown_id in encode(letter))
            characters.update(lone)
    return UnknownRate(
        tokens=tokens,
        unknown=unknown,
        texts=count,
        texts_with_unknown=with_unknown,
        characters="".join(sorted(characters)),
    )
