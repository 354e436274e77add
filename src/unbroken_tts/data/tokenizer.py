"""Reads a SentencePiece tokenizer.

Training only needs its number of pieces; its digest is a fact of the run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from unbroken import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Tokenizer:
    """A SentencePiece model read from one file.

    Args:
        path: The `.model` file.

    Raises:
        DataInvalid: The file is missing, unreadable, or not a SentencePiece model.
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
            raise _invalid(path, f"is not a SentencePiece model ({len(content)} bytes)")
        self._processor = processor
        self.path = path
        """Path of the file; not part of the tokenizer's identity."""
        self.vocabulary: int = len(pieces)
        """Number of pieces V; ids are in [0, V)."""
        self.unknown_id: int = processor.unk_id()
        """Id of text that no piece covers; -1 if there is none."""
        self.pieces: tuple[str, ...] = tuple(pieces)
        """The pieces by id; U+2581 stands for a space."""
        self.kinds: tuple[str, ...] = _kinds(content)
        """The kinds by id: `normal`, `unknown`, `control`, `user_defined`, `unused` or `byte`."""
        self.digest: str = self._digest()
        """BLAKE2b-128 hex over pieces, kinds and scores, independent of the path."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, each in [0, vocabulary), without start and stop.

        The text is not normalised; that is up to the caller.
        """
        return list(self._processor.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids in [0, vocabulary); start and stop ids are dropped."""
        return str(self._processor.decode([int(token) for token in ids]))

    def _digest(self) -> str:
        """Return the digest of scheme 1.

        For each piece: its UTF-8 length as little-endian uint32, its UTF-8 bytes, one letter for
        its kind, its score as little-endian float32.
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


def _kinds(content: bytes) -> tuple[str, ...]:
    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(content)
    names: Any = sentencepiece_model_pb2.ModelProto.SentencePiece.Type  # type: ignore[attr-defined]
    return tuple(names.Name(each.type).lower() for each in proto.pieces)


def _invalid(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The tokenizer {path} {what}.",
        "Its pieces define the text ids and the size of the vocabulary.",
        "Name the SentencePiece `.model` file the manifests were made with.",
    )
