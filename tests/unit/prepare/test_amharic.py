from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import phonemes
from unbroken_tts.prepare.amharic import normalise_amharic
from unbroken_tts.prepare.normalisation import normalise

LETTERS = [
    chr(point) for point in range(0x1200, 0x135B) if unicodedata.category(chr(point)) == "Lo"
]
AMHARIC = st.text(st.sampled_from([*LETTERS, *" ።፣፤፥፦፧፨፡፩፪፲፻፼0123456789.,:/%-ዓም"]), max_size=40)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("ሰላም ለአለም.", "ሠላም ለዓለም።"),
        ("ሀገር ሀገር ሀገር", "ሀገር ሐገር ኀገር"),
        ("ጸሀይ", "ፀሐይ"),
        ("በኋላ ሷ", "በኋላ ሧ"),
        ("ኸረ ሀ ሂ", "ኸረ ኻ ኺ"),
        ("ሰላም ደህና", "ሰላም፡ደህና"),
        ("ሰላም. ደህና", "ሰላም፡፡ደህና"),
        ("ሰላም, ደህና; ነው?", "ሰላም፣ደህና፤ ነው፧"),
        ("በሁለት ሺህ አስራ ሰባት አመተ ምህረት ተሰራ.", "በ፳፻፲፯ ዓ.ም. ተሠራ።"),
        ("ትምህርት ቤቱ በአዲስ አበባ ነው", "ት/ቤቱ በአ.አ ነው"),
        ("ዶክተር አበበና ወይዘሮ አልማዝ", "ዶ/ር አበበና ወ/ሮ አልማዝ"),
        ("እንደ ኤውሮፓ አቆጣጠር", "እ.ኤ.አ"),
        ("ሶስተኛ አንደኛ ሀያ አንደኛው", "3ኛ 1ኛ 21ኛው"),
        ("አርባ አምስት በመቶ", "45%"),
        ("አስራ ሁለት ነጥብ ዜሮ አምስት", "12.05"),
        ("አንድ ሚሊዮን ሁለት መቶ ሺህ", "1,200,000"),
        ("ሁለት ቢሊዮን", "2000000000"),
        ("ኔጋቲቭ አምስት", "-5"),
        ("ሁለት-ሶስት", "2-3"),
        ("ዜሮ ዘጠኝ አንድ አንድ", "0911"),
        ("አስር ሰአት ከሰላሳ", "10:30"),
        ("አምስት ሺህ ብር", "5ሺህ ብር"),
        ("ሰላም", "\ufeffሰ\u200bላ\u00adም\u200d"),
        ("OK ሶስት D", "ok 3D"),
        ("", " \t "),
    ],
)
def test_text_comes_out_in_one_form(expected: str, text: str) -> None:
    """Spellings, marks, numbers and abbreviations come out as they are said."""
    assert expected == normalise_amharic(text)


@given(st.one_of(AMHARIC, st.text(max_size=40)))
@settings(deadline=None, max_examples=300)
def test_normalising_is_idempotent(text: str) -> None:
    """What is normalised stays as it is."""
    once = normalise_amharic(text)
    assert once == normalise_amharic(once)


@given(st.one_of(AMHARIC, st.text(max_size=40)))
@settings(deadline=None, max_examples=300)
def test_nothing_unreadable_is_left(text: str) -> None:
    """No Ethiopic numeral or mark, no digit, no invisible character, no double blank is left."""
    result = normalise_amharic(text)
    assert [] == [letter for letter in result if "\u1360" <= letter <= "\u137c"]
    assert [] == [letter for letter in result if letter.isdecimal()]
    assert [] == [letter for letter in result if unicodedata.category(letter) in {"Cf", "Cc"}]
    assert result == " ".join(result.split())
    assert result == unicodedata.normalize("NFC", result)


@given(st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=6), max_size=40))
@settings(deadline=None, max_examples=8)
def test_pronunciation_is_kept(words: list[str]) -> None:
    """espeak-ng, which knows nothing of our rules, says the folded text as it says the original."""
    texts = [*words, " ".join(words)]
    assert phonemes(texts, "am") == phonemes([normalise_amharic(text) for text in texts], "am")


def test_every_letter_keeps_its_sound() -> None:
    """Each letter alone and within a word sounds the same before and after."""
    texts = [pattern.format(letter) for letter in LETTERS for pattern in ("{}", "በ{}ር")]
    assert phonemes(texts, "am") == phonemes([normalise_amharic(text) for text in texts], "am")


def test_corpus_keeps_its_pronunciation() -> None:
    """The sentences without numbers and abbreviations sound the same before and after."""
    plain = [
        sentence.replace("።", ".").replace("፣", ",").replace("፤", ";").replace("፧", "?")
        for sentence in load_sentences("am")
        if not any(letter.isnumeric() or letter == "/" for letter in sentence)
    ]
    assert 380 < len(plain)
    assert phonemes(plain, "am") == phonemes([normalise_amharic(text) for text in plain], "am")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("IT'S THE TWENTY FIRST.", "It\u2019s the 21st."),
        ("MINUS THREE POINT FIVE PERCENT", "-3.5 %"),
        ("ONE MILLION TWO HUNDRED THOUSAND AND NINE", "1,200,000 and 9"),
        ("ZERO ZERO SEVEN", "007"),
        ("TWELFTH TWENTIETH HUNDRED", "12th 20th hundred"),
        ("THREE D", "3d"),
    ],
)
def test_english_comes_out_in_one_form(expected: str, text: str) -> None:
    """English is put in capitals with its numbers in words."""
    assert expected == normalise(text, "en-US")


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=200)
def test_other_languages_are_idempotent_too(text: str) -> None:
    """English rules and the plain rules for all other languages leave their own output alone."""
    for language in ("en", "ja"):
        once = normalise(text, language)
        assert once == normalise(once, language)


def test_ideographs_are_set_apart() -> None:
    """Ideographs stand alone, as the base tokenizers expect."""
    assert "ABC 你 好" == normalise("abc你好", "zh")
