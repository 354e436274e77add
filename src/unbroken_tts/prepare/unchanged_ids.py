"""Proves that an extended tokenizer encodes old texts as its base does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from unbroken import DataInvalid
from unbroken_tts.prepare.tokenizers import parsed, processor


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
