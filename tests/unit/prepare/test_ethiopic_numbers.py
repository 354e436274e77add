from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken_tts.prepare.ethiopic_numbers import (
    LARGEST,
    digits_in_words,
    ethiopic_value,
    number_in_words,
    ordinal_in_words,
)


def numeral(value: int) -> str:
    """Write a number in Ethiopic numerals, by pairs of digits from the right (Unicode, Ethiopic)."""
    written, place, rest = "", 0, value
    while rest:
        rest, pair = divmod(rest, 100)
        tens, unit = divmod(pair, 10)
        digits = (chr(0x1371 + tens) if tens else "") + (chr(0x1368 + unit) if unit else "")
        mark = "" if place == 0 else ("፻" if place % 2 else "፼")
        if mark == "፻" and not pair:
            mark = ""
        if mark == "፻" and pair == 1:
            digits = ""
        written = digits + mark + written
        place += 1
    return written


@given(st.integers(1, 10**9))
def test_ethiopic_numerals_have_their_value(value: int) -> None:
    """A number written in Ethiopic numerals is read as that number."""
    assert value == ethiopic_value(numeral(value))


@pytest.mark.parametrize(
    ("value", "text"), [(2017, "፳፻፲፯"), (100, "፻"), (10_000, "፼"), (123_456, "፲፪፼፴፬፻፶፮"), (1, "፩")]
)
def test_known_numerals(value: int, text: str) -> None:
    """Numerals as they stand in books."""
    assert value == ethiopic_value(text)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("ዜሮ", 0),
        ("አስር", 10),
        ("አስራ አንድ", 11),
        ("ሀያ", 20),
        ("ዘጠና ዘጠኝ", 99),
        ("አንድ መቶ አንድ", 101),
        ("ሁለት ሺህ አስራ ሰባት", 2017),
        ("አንድ መቶ ሀያ ሶስት ሺህ አራት መቶ ሀምሳ ስድስት", 123_456),
        ("አንድ ሚሊዮን አንድ", 1_000_001),
        ("አንድ ቢሊዮን", 10**9),
        ("ሁለት ትሪሊዮን", 2 * 10**12),
    ],
)
def test_numbers_in_words(words: str, value: int) -> None:
    """Numbers are said as they are said."""
    assert words == number_in_words(value)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_different_numbers_are_said_differently(first: int, second: int) -> None:
    """No two numbers share their words."""
    assert (first == second) == (number_in_words(first) == number_in_words(second))


@pytest.mark.parametrize("value", [-1, LARGEST + 1])
def test_numbers_out_of_range_are_refused(value: int) -> None:
    """What has no words raises instead of saying something else."""
    with pytest.raises(ValueError, match="outside"):
        number_in_words(value)


def test_digits_and_ordinals() -> None:
    """Digits one by one; ordinals join their ending as they are spelt."""
    assert "ዜሮ ዘጠኝ" == digits_in_words("09")
    assert ["አንደኛ", "አምስተኛ", "ሀያ ዘጠነኛ", "አስረኛ", "መቶኛ", "ሁለት ሺኛ"] == [
        ordinal_in_words(word) for word in ("አንድ", "አምስት", "ሀያ ዘጠኝ", "አስር", "መቶ", "ሁለት ሺህ")
    ]
