"""Reads a SentencePiece tokenizer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from unbroken import DataInvalid
from unbroken_tts.data.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model.

    Args:
        path: The `.model` file, for messages.
        content: What is in it.

    Raises:
        DataInvalid: It is not a SentencePiece model.
    """

    def __init__(self, path: Path, content: bytes) -> None:
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
        proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        proto.ParseFromString(content)
        self.kind = _KINDS[int(proto.trainer_spec.model_type)]
        self.normaliser = str(proto.normalizer_spec.name)
        self.path = path
        self.vocabulary = len(pieces)
        self.unknown_id = processor.unk_id()
        self.pieces = tuple(pieces)
        self.kinds = _kinds(proto)
        self.scores = tuple(float(each.score) for each in proto.pieces)
        self.digest = self._digest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; see `Tokenizer.encode`."""
        return list(self._processor.encode(text))

    def cut(self, text: str) -> list[str]:
        """Return the pieces of a text; see `Tokenizer.cut`."""
        return list(self._processor.encode_as_pieces(text))

    def normalised(self, text: str) -> str:
        """Return a text as the normalisation in the model leaves it; U+2581 stands for a space."""
        return str(self._processor.normalize(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; see `Tokenizer.decode`."""
        return str(self._processor.decode([int(token) for token in ids]))

    def first_text_id(self, reserved: AbstractSet[int]) -> int:
        """Return the first id that is no start, stop or control piece; none is looked for behind it."""
        taken = reserved | {number for number, kind in enumerate(self.kinds) if kind == "control"}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _digest(self) -> str:
        """Return the digest of scheme 1, over pieces, kinds and scores.

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


def _kinds(proto: Any) -> tuple[str, ...]:
    names: Any = sentencepiece_model_pb2.ModelProto.SentencePiece.Type  # type: ignore[attr-defined]
    return tuple(names.Name(each.type).lower() for each in proto.pieces)


def _invalid(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The tokenizer {path} {what}.",
        "Its pieces define the text ids and the size of the vocabulary.",
        "Name the file the manifests were made with: a `.model` of SentencePiece, or the `.tiktoken` of "
        "IndexTTS-2.5.",
    )
