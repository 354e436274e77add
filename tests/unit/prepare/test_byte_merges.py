"""Merges for a script: they pay, they are proved to leave other texts alone, and the ids are right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.byte_vocabulary import MERGES, write_vocabulary
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer
from unbroken_tts.data.tokenizer_kinship import Kinship
from unbroken_tts.data.whisper_tokens import SPECIAL_TOKENS
from unbroken_tts.prepare.byte_merges import extend_bytes, tokens_a_word

RANKS = 256 + len(MERGES)
ADDED = 300
NO_ETHIOPIC = st.text(
    st.characters(exclude_categories=["Cs"]).filter(
        lambda each: not "\u1200" <= each <= "\u139f" and ord(each) not in range(0x2D80, 0xABFF)
    )
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TiktokenTokenizer:
    opened = open_tokenizer(write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "base"))
    assert isinstance(opened, TiktokenTokenizer)
    return opened


@pytest.fixture(scope="module")
def grown(base: TiktokenTokenizer) -> TiktokenTokenizer:
    made = extend_bytes(base, load_sentences("am")[:300], base.vocabulary + ADDED)
    assert base.vocabulary + ADDED == made.size
    return TiktokenTokenizer(Path("grown"), made.content)


def test_words_cost_less(base: TiktokenTokenizer, grown: TiktokenTokenizer) -> None:
    """On held-out sentences of the project's own corpus, a word takes less than a third of its tokens."""
    held = load_sentences("am")[300:]
    before, after = tokens_a_word(base, held), tokens_a_word(grown, held)
    assert before > 9
    assert after < before / 3


def test_merges_lie_between_the_ranks_and_the_special_tokens(
    base: TiktokenTokenizer, grown: TiktokenTokenizer
) -> None:
    """Ranks keep their ids; each special token is found by its name where it moved to."""
    kin = Kinship(base, grown)
    assert kin.same == RANKS
    assert [None] * ADDED == list(kin.sources[RANKS : RANKS + ADDED])
    assert list(range(RANKS, base.vocabulary)) == list(kin.sources[RANKS + ADDED :])
    assert grown.first_language_id == base.first_language_id + ADDED
    assert grown.pieces[-len(SPECIAL_TOKENS) :] == SPECIAL_TOKENS


def test_new_pieces_are_spelt_by_the_base_where_they_are_text(
    base: TiktokenTokenizer, grown: TiktokenTokenizer
) -> None:
    """A word's row may start from those of its bytes; part of a letter has no text."""
    kin = Kinship(base, grown)
    whole = [each for each in grown.pieces[RANKS : RANKS + ADDED] if "<0x" not in each]
    assert len(whole) > ADDED / 2
    for piece in whole:
        assert base.decode(kin.spelling(piece)) == piece.replace("\u2581", " ")
    assert [] == kin.spelling("\u2581<0xE1><0x89>")


@given(text=NO_ETHIOPIC)
def test_other_texts_keep_their_ids(
    base: TiktokenTokenizer, grown: TiktokenTokenizer, text: str
) -> None:
    """Whatever the text, as long as it has no Ethiopic character, also in scripts with the same bytes."""
    for typed in (text, f"\u13a0\u1781{text}\u10e5"):
        assert base.encode(typed) == [
            each if each < RANKS else each - ADDED for each in grown.encode(typed)
        ]


@given(text=st.text(st.sampled_from("ሰላምለዓለ ።ወንድም፣ a")))
def test_texts_of_the_script_come_back(grown: TiktokenTokenizer, text: str) -> None:
    """Encoded and decoded, a text is itself."""
    assert text == grown.decode(grown.encode(text))


def test_equal_texts_give_equal_bytes(base: TiktokenTokenizer) -> None:
    """The file depends on base, texts and size alone; smaller sizes are its beginning."""
    texts = load_sentences("am")[:60]
    made = [extend_bytes(base, texts, base.vocabulary + size).content for size in (40, 40, 20)]
    assert made[0] == made[1]
    assert made[0].startswith(made[2])
    all_there_are = extend_bytes(base, texts[:2], base.vocabulary + 10_000)
    assert all_there_are.size < base.vocabulary + 300
