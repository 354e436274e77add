"""The text front ends: what IndexTTS2 and its Amharic fork encode for a text, and who differs."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken import DataInvalid
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.prepare import indextts_front
from unbroken_tts.prepare.chinese_digits import chinese_number, plain_numbers
from unbroken_tts.prepare.front_comparison import (
    CAPITALS,
    DIGITS,
    HOMOPHONES,
    MARKS,
    NOT_FOLLOWED,
    SHORT,
    TOKENIZER,
    Side,
    compare_fronts,
)
from unbroken_tts.prepare.fronts import NAMES, TextRules, front_end, rules_of_data
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import train_tokenizer


@pytest.fixture(autouse=True)
def without_wetext(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing reads numbers, whatever is installed here."""
    for name in ("wetext", "tn"):
        monkeypatch.setitem(sys.modules, name, None)
    indextts_front._reader.cache_clear()
    yield
    indextts_front._reader.cache_clear()


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("ሰላም ለዓለም።", "  ሰላም ለዓለም።\n"),  # Ethiopic marks and every letter stay
        ("ነው፣ ሀ፤ ለ፧", "ነው፣ ሀ፤ ለ፧"),
        ("ሀ, ለ, ሐ", "ሀ; ለ: ሐ"),
        ("'ሀ' 'ለ' 'ሐ'", '“ሀ” (ለ) "ሐ"'),
        ("ሀ… ለ… ሐ…", "ሀ... ለ…… ሐ,,,"),
        ("ሀ….", "ሀ...."),
        ("ሀ-ለ-ሐ-መ", "ሀ—ለ~ሐ·መ"),
        ("በ፳፻፲፯ ዓ.ም.", "በ፳፻፲፯ ዓ.ም."),
        ("ሀ.", "ሀ$"),
        ("ሀ\u00a0ለ  ሐ", "ሀ\u00a0ለ  ሐ"),  # the tokenizer itself joins blanks
        ("ሀ ለ", "ሀ\nለ"),
        (";", ";"),  # a single character is encoded as it is
        (" : ", " : "),
        ("", "  "),
        ("ДА", "да"),
        ("በ 两 千 零 一 十 七 ዓ.ም. 三 ኛ.", "በ2017 ዓ.ም. 3ኛ."),
    ],
)
def test_what_indextts_encodes(expected: str, text: str) -> None:
    """Without digits and Latin letters the program's rules are followed by themselves."""
    assert expected == front_end(text, "am", "indextts")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("ሰላም ለዓለም.", "  ሰላም  ለዓለም።\n"),
        ("ነው, ሀ; ለ? ሐ: መ: ሠ!", "ነው፣ ሀ፤ ለ፧ ሐ፥ መ፦ ሠ፨"),
        ("ሀ, ለ, ሐ", "ሀ; ለ: ሐ"),
        ("በ2017 ዓ.ም. 50% NASA", "በ2017 ዓ.ም. 50% Nasa"),  # digits stay digits
        ("ሀ, ለ", "Speaker 3: ሀ: ለ"),
        ("ሰላም", "ተናጋሪ 12: ሰላም"),
        ("ሰላም 你 好", "ሰላም你好"),
        ("።", "።"),
    ],
)
def test_what_its_amharic_fork_encodes(expected: str, text: str) -> None:
    """The fork maps Ethiopic marks, and needs nothing else where a text has an Ethiopic letter."""
    assert expected == front_end(text, "am", "indextts-am")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("digits", "በ10:30 ሰዓት"),
        ("digits", "2.5 ብር"),
        ("digits", "-5 ነው"),
        ("signs", "ሀ × ለ"),
        ("Latin letters", "ሀ NASA"),
        ("East Asian", "ሀ。"),
        ("East Asian", "ሰላም 你好"),
        ("East Asian", "ሀ１"),
        ("pinyin", "ሀ xuan4"),
    ],
)
def test_what_cannot_be_followed_is_refused(word: str, text: str) -> None:
    """Instead of ids that may be others, a message: what, why, and what to do."""
    with pytest.raises(DataInvalid, match=word) as found:
        front_end(text, "am", "indextts")
    assert re.search("pip install (wetext|WeTextProcessing)", found.value.remedy)


def test_digits_are_read_by_what_the_program_reads_them_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the package installed, digits become the Chinese words that the program makes of them."""
    # Recorded from wetext 0.1.8 and WeTextProcessing 1.2.0.
    recorded = {
        ("zh", "ዋጋው 2017 ብር ነው።"): "ዋጋው 两千零一十七 ብር ነው።",
        ("zh", "50%"): "百分之五十",
        ("en", "Dr. ሀ it is F<H>TTS"): "doctor ሀ it is F <H> TTS",
    }

    class Normalizer:
        def __init__(self, lang: str, operator: str, *, remove_erhua: bool) -> None:
            assert (operator, remove_erhua) == ("tn", False)
            self.lang = lang

        def normalize(self, text: str) -> str:
            return recorded[self.lang, text]

    module = types.SimpleNamespace(Normalizer=Normalizer)
    monkeypatch.setitem(sys.modules, "wetext", module)
    indextts_front._reader.cache_clear()
    expected = "ዋጋው 两 千 零 一 十 七 ብር ነው።"
    assert expected == front_end("ዋጋው 2017 ብር ነው።", "am", "indextts")
    assert "百 分 之 五 十" == front_end("50%", "am", "indextts-am")
    assert "DOCTOR ሀ IT IS F-TTS" == front_end("Dr. ሀ it's F-TTS", "am", "indextts")


# Recorded from wetext 0.1.8.
READ = {
    0: "零", 2: "二", 10: "十", 19: "十九", 20: "二十", 100: "一百", 101: "一百零一", 102: "一百零二",
    109: "一百零九", 110: "幺幺零", 119: "幺幺九", 122: "幺二二", 123: "一百二十三", 200: "两百",
    202: "两百零二", 222: "两百二十二", 300: "三百", 1000: "一千", 1002: "一千零二",
    1010: "一千零一十", 1200: "一千二百", 2000: "两千", 2017: "两千零一十七", 2222: "两千二百二十二",
    3003: "三千零三", 9999: "九千九百九十九",
}  # fmt: skip


def test_plain_numbers_need_no_package() -> None:
    """Whole numbers below ten thousand among Amharic words become the program's Chinese words."""
    for number, words in READ.items():
        assert words == chinese_number(number)
        assert f"ዋጋው {words} ብር" == plain_numbers(f"ዋጋው {number} ብር")
    found = {words for number in range(10_000) if (words := chinese_number(number))}
    assert 10_000 == len(found)


@pytest.mark.parametrize(
    "text",
    [
        "ሀ 0911",
        "ሀ 12345",
        "ሀ 1,000",
        "ሀ 5-3",
        "ሀ 5 - 3",
        "ሀ 50%",
        "ሀ 3 4",
        'ሀ "5"',
        "ሀ 3፡4 + 1",
        "ሀ.5",
    ],
)
def test_other_numbers_are_not_claimed(text: str) -> None:
    """Whatever was not compared with the package is left to it."""
    assert plain_numbers(text) is None


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=200)
def test_no_text_breaks_a_front_end(text: str) -> None:
    """Whatever is typed is read or refused with a message."""
    for name in NAMES:
        try:
            assert isinstance(front_end(text, "am", name), str)
        except DataInvalid as error:
            assert error.what  # noqa: PT017 - both outcomes are right


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer of normalised Amharic text."""
    path = tmp_path_factory.mktemp("tokenizer") / "bpe.model"
    path.write_bytes(train_tokenizer([normalise(each, "am") for each in load_sentences("am")], 400))
    return open_tokenizer(path)


def side(front: str, tokenizer: Tokenizer) -> Side:
    return Side(front=lambda text: front_end(text, "am", front), tokenizer=tokenizer)


def test_differences_are_counted_and_named(tokenizer: Tokenizer) -> None:
    """Each text that differs has its reasons; characters unknown to the program only are listed."""
    texts = ["ሰላም ነው", "ሰላም ነው።", "ሠላም ነው", "በ፲፪ ቀን", "ዶ/ር አበበ", "በ10:30 ነው"]
    found = compare_fronts(texts, side("unbroken", tokenizer), side("indextts", tokenizer))
    assert (6, 1) == (found.texts, found.equal)
    assert {MARKS: 1, HOMOPHONES: 1, DIGITS: 1, SHORT: 1, NOT_FOLLOWED: 1} == found.reasons
    assert {"።", "፲", "፪"} <= found.characters.keys()
    fork = compare_fronts(texts, side("unbroken", tokenizer), side("indextts-am", tokenizer))
    assert {HOMOPHONES: 1, DIGITS: 2, SHORT: 1} == fork.reasons
    same = compare_fronts(texts, side("indextts-am", tokenizer), side("indextts-am", tokenizer))
    assert (6, 6, 0) == (same.texts, same.equal, same.newly_unknown)
    unread = compare_fronts(texts, side("indextts", tokenizer), side("indextts", tokenizer))
    assert (5, {NOT_FOLLOWED: 1}) == (unread.equal, unread.reasons)


def test_another_tokenizer_and_other_capitals_are_named(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Equal texts with other ids point at the tokenizer; a missing capital at capitals."""
    path = tmp_path / "other.model"
    path.write_bytes(train_tokenizer(["ሰላም ነው"] * 3, 10))
    other = side("unbroken", open_tokenizer(path))
    assert {TOKENIZER: 1} == compare_fronts(["ሰላም"], side("unbroken", tokenizer), other).reasons
    path.write_bytes(train_tokenizer(["OK NASA nasa"] * 3, 12))
    latin = open_tokenizer(path)
    small = Side(front=lambda text: text, tokenizer=latin)
    found = compare_fronts(["OK nasa"], side("unbroken", latin), small)
    assert {CAPITALS: 1} == found.reasons


def test_rules_are_read_from_prepared_data(tmp_path: Path) -> None:
    """prepare.json names them; data of other tools, or a damaged file, is unknown, not assumed."""
    place = tmp_path / "prepare.json"
    assert rules_of_data(tmp_path, ["am"]) is None
    for content in ("{", "[]", "{}", '{"normalisation": "x"}', '{"front": "other"}'):
        place.write_text(content, encoding="utf-8")
        assert rules_of_data(tmp_path, ["am"]) is None
    place.write_text('{"normalisation": 1}', encoding="utf-8")  # of before there were several
    assert TextRules(front="unbroken", scheme=1, languages=("am",)) == rules_of_data(
        tmp_path, ["am", ""]
    )
    text = '{"normalisation": 1, "front": "indextts", "front_scheme": 1}'
    place.write_text(text, encoding="utf-8")
    assert TextRules(front="indextts", scheme=1) == rules_of_data(tmp_path, [])
