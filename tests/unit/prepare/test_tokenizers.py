from __future__ import annotations

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.prepare.tokenizers import extend, processor, train_tokenizer, unknown_rate

Encoder = sentencepiece.SentencePieceProcessor


@pytest.fixture(scope="module")
def encoders(base_model: bytes, amharic: list[str]) -> tuple[Encoder, Encoder]:
    """The base, and its extension."""
    return processor(base_model), processor(extend(base_model, amharic, 700).model)


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


def test_extension_keeps_every_old_id(
    base_model: bytes, amharic: list[str], english: list[str]
) -> None:
    """Old pieces and scores stay; old texts are cut as before; the new language has no unknown."""
    extension = extend(base_model, amharic, 900, base_texts=english)
    base, extended = processor(base_model), processor(extension.model)
    assert (300, 900) == (extension.base_size, extension.size)
    for index in range(300):
        assert base.IdToPiece(index) == extended.IdToPiece(index)
        assert base.GetScore(index) == extended.GetScore(index)
    assert [base.EncodeAsIds(text) for text in english] == [
        extended.EncodeAsIds(text) for text in english
    ]
    assert len(english) == extension.base_texts_compared
    assert extension.before.unknown > 0
    assert (0, 0, "") == (
        extension.after.unknown,
        extension.after.texts_with_unknown,
        extension.after.characters,
    )


@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=30))
@settings(deadline=None, max_examples=150)
def test_any_text_without_the_script_is_cut_as_before(
    text: str, encoders: tuple[Encoder, Encoder]
) -> None:
    """Not only the compared texts: whatever has no Ethiopic letter has the same ids."""
    latin = "".join(letter for letter in text if not "\u1200" <= letter <= "\u139f")
    base, extended = encoders
    assert base.EncodeAsIds(latin) == extended.EncodeAsIds(latin)


def test_extension_is_deterministic(base_model: bytes, amharic: list[str]) -> None:
    """The same base and texts give the same bytes."""
    assert extend(base_model, amharic, 700).model == extend(base_model, amharic, 700).model


def test_extension_makes_texts_shorter_with_size(base_model: bytes, amharic: list[str]) -> None:
    """More pieces join more letters: the scores let merges happen."""
    sizes = [extend(base_model, amharic, size).after.tokens for size in (480, 700, 1_500)]
    assert sizes == sorted(sizes, reverse=True)
    assert 2 * sizes[-1] < sizes[0]


def test_large_extension_knows_letters_it_never_saw(base_model: bytes, amharic: list[str]) -> None:
    """With room, every letter of the script has a piece."""
    encoder = processor(extend(base_model, amharic[:50], 3_000).model)
    assert encoder.unk_id() not in encoder.EncodeAsIds("ቿ ጇ ኼ ፗ")


def test_extension_can_be_extended(base_model: bytes, amharic: list[str]) -> None:
    """Extending an extension again keeps all its ids, too."""
    first = extend(base_model, amharic[:100], 500)
    second = extend(first.model, amharic, 800)
    one, two = processor(first.model), processor(second.model)
    pieces = range(first.size)
    assert [one.IdToPiece(index) for index in pieces] == [two.IdToPiece(index) for index in pieces]
    assert second.after.unknown == 0


def test_extension_without_room_is_refused(base_model: bytes, amharic: list[str]) -> None:
    """Fewer new pieces than letters is a clear error with both numbers."""
    with pytest.raises(SettingsInvalid, match="room for 50 new pieces"):
        extend(base_model, amharic, 350)


def test_extension_by_nothing_is_refused(base_model: bytes, amharic: list[str]) -> None:
    """A base that knows all letters already is said to be enough as it is."""
    first = extend(base_model, amharic, 800)
    with pytest.raises(SettingsInvalid, match="no letter of the script Ethiopic") as told:
        extend(first.model, amharic, 1_000)
    assert "--tokenizer" in told.value.remedy


def test_foreign_bytes_are_refused() -> None:
    """What is no model is told so."""
    for content in (b"", b"no model at all"):
        with pytest.raises(DataInvalid, match="not a SentencePiece model"):
            processor(content)


def test_unknown_rate_counts(base_model: bytes) -> None:
    """Tokens, unknown tokens, texts and the characters without a piece are counted."""
    rate = unknown_rate(processor(base_model), ["HELLO", "ሰላም"])
    assert (2, 1, "ሰላም") == (
        rate.texts,
        rate.texts_with_unknown,
        "".join(sorted(rate.characters, key="ሰላም".index)),
    )
    assert 0 < rate.share < 1
