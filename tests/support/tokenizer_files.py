"""Small SentencePiece models of given pieces, each with its kind, for tests."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPECIAL = (("<s>", "CONTROL"), ("</s>", "CONTROL"), ("<unk>", "UNKNOWN"))


def write_pieces(
    path: Path, pieces: Sequence[str | tuple[str, str]], *, kind: str = "UNIGRAM"
) -> Path:
    """Write a model of `<s>`, `</s>`, `<unk>` and these pieces; a pair names another kind.

    Args:
        path: The `.model` file.
        pieces: The pieces, of the kind NORMAL where it isn't named; one that is `<s>` and the like
            stands where it is named, and the three are not put before.
        kind: Of the model: UNIGRAM, BPE or WORD.
    """
    proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # untyped
    model = proto.ModelProto()
    model.trainer_spec.model_type = model.trainer_spec.ModelType.Value(kind)
    model.normalizer_spec.add_dummy_prefix = True
    named = [each if isinstance(each, tuple) else (each, "NORMAL") for each in pieces]
    if not any(each == "UNKNOWN" for _, each in named):
        named = [*SPECIAL, *named]
    for number, (piece, each) in enumerate(named):
        score = 0.0 if each in {"CONTROL", "UNKNOWN", "USER_DEFINED"} else -1.0 - number / 100
        model.pieces.add(
            piece=piece, score=score, type=proto.ModelProto.SentencePiece.Type.Value(each)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
