from __future__ import annotations

import pytest

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.prepare.tokenizers import kind_of, processor, train_tokenizer, unknown_rate


def test_trained_tokenizer_has_the_promised_ids(base_model: bytes) -> None:
    """Start, end and unknown are 0, 1 and 2, and there is no padding piece."""
    encoder = processor(base_model)
    assert ["<s>", "</s>", "<unk>"] == [encoder.IdToPiece(index) for index in range(3)]
    assert encoder.pad_id() == -1
    assert encoder.GetPieceSize() == 300


def test_training_is_deterministic(english: list[str], base_model: bytes) -> None:
    """The same texts give the same bytes."""
    assert base_model == train_tokenizer(english, 300)


def test_training_reaches_what_the_texts_offer() -> None:
    """A size beyond all parts of the texts is no error."""
    assert processor(train_tokenizer(["A B AB"], 5_000)).GetPieceSize() < 20


@pytest.mark.parametrize(("texts", "size"), [([], 300), (["ABCDEFG"], 8), (["", ""], 300)])
def test_impossible_sizes_are_refused(texts: list[str], size: int) -> None:
    """Too few pieces for the characters, or no text, is a clear error."""
    with pytest.raises(SettingsInvalid, match=f"have {size} pieces"):
        train_tokenizer(texts, size)


def test_foreign_bytes_are_refused() -> None:
    """What is no model is told so."""
    for content in (b"", b"no model at all"):
        with pytest.raises(DataInvalid, match="not a SentencePiece model"):
            processor(content)


def test_a_damaged_piece_is_refused(base_model: bytes) -> None:
    """SentencePiece loads a piece that is no UTF-8; nothing could be done with it."""
    spoilt = base_model.replace("\u2581T".encode(), b"\xff\xfe\xfdT", 1)
    assert spoilt != base_model
    with pytest.raises(DataInvalid, match="not a SentencePiece model"):
        processor(spoilt)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_by_kind(english: list[str], kind: str) -> None:
    """Both kinds have the same first ids and know all letters."""
    model = train_tokenizer(english, 300, kind=kind)
    assert kind == kind_of(model)
    assert 0 == unknown_rate(processor(model), english).unknown


def test_unknown_rate_counts(base_model: bytes) -> None:
    """Tokens, unknown tokens, texts and the characters without a piece are counted."""
    rate = unknown_rate(processor(base_model), ["HELLO", "ሰላም"])
    assert (2, 1, "ሰላም") == (
        rate.texts,
        rate.texts_with_unknown,
        "".join(sorted(rate.characters, key="ሰላም".index)),
    )
    assert 0 < rate.share < 1
