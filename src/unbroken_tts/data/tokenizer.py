"""Reads a SentencePiece tokenizer; makes and changes none.

Training needs of it only how many pieces there are; its digest is a fact of the run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from unbroken import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Tokenizer:
    """A SentencePiece model read from one file.

    Args:
        path: The `.model` file.

    Raises:
        DataInvalid: The file is missing, unreadable, or no SentencePiece model.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _invalid(path, f"can't be read: {error.strerror or error}") from None
        processor = sentencepiece.SentencePieceProcessor()
        pieces: list[str] = []
        try:
            if content and processor.LoadFromSerializedProto(content):
                pieces = processor.id_to_piece(list(range(processor.vocab_size())))
        except (RuntimeError, UnicodeDecodeError):
            pieces = []
        if not pieces:
            raise _invalid(path, f"is no SentencePiece model ({len(content)} bytes)")
        self._processor = processor
        self.path = path
        """Where the model was read from; no part of its identity."""
        self.vocabulary: int = len(pieces)
        """Number of pieces V; ids lie in [0, V)."""
        self.unknown_id: int = processor.unk_id()
        """The id of text that no piece covers; -1 where there is none."""
        self.pieces: tuple[str, ...] = tuple(pieces)
        """The pieces by id; U+2581 stands for a blank."""
        self.digest: str = self._digest()
        """BLAKE2b-128 hex over pieces, kinds and scores: equal for equal content anywhere."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, each in [0, vocabulary), without start and stop.

        The text is taken as it is; normalising a language is the caller's part.
        """
        return list(self._processor.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids in [0, vocabulary); start and stop ids vanish."""
        return str(self._processor.decode([int(token) for token in ids]))

    def _digest(self) -> str:
        """Return the digest of scheme 1.

        Of each piece in turn: its UTF-8 length as little-endian uint32, its UTF-8 bytes, one
        letter for its kind, its score as little-endian float32.
        """
        hasher = hashlib.blake2b(b"unbroken tokenizer 1\n", digest_size=16)
        numbers = list(range(self.vocabulary))
        scores = np.array(self._processor.get_score(numbers), dtype="<f4")
        kinds = ["N"] * self.vocabulary
        for letter, is_kind in (
            ("C", self._processor.is_control),
            ("U", self._processor.is_unknown),
            ("X", self._processor.is_unused),
            ("B", self._processor.is_byte),
        ):
            for number in np.flatnonzero(is_kind(numbers)).tolist():
                kinds[number] = letter
        for piece, kind, score in zip(self.pieces, kinds, scores, strict=True):
            written = piece.encode("utf-8")
            hasher.update(len(written).to_bytes(4, "little") + written)
            hasher.update(kind.encode("ascii") + score.tobytes())
        return hasher.hexdigest()


def _invalid(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The tokenizer {path} {what}.",
        "Its pieces decide what every text id means and how many there are.",
        "Name the SentencePiece `.model` file the manifests were made with.",
    )
