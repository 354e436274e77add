"""Cleans characters for all languages: composition, invisible characters, digits, spaces."""

from __future__ import annotations

import re
import unicodedata

_BLANKS = re.compile(r"\s+")
# Ideographs, kana and hangul, which the base tokenizers encode one character at a time.
_CJK = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff])")
_MARKS = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u2039\u203a\u2032", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2026": ".",
    }
)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category in {"Cc", "Zs"}:
        return " "
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return "" if category in {"Cf", "Cs", "Co", "Cn"} or is_selector else character


def _plain_digit(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def cleaned(text: str) -> str:
    """Return `text` with its characters cleaned.

    Invisible characters (zero-width, directional, soft hyphen, variation selectors) are dropped;
    control characters and all kinds of spaces become one space; the rest is composed (NFC); decimal
    digits of any script become 0 to 9; typographic quotes and dashes become plain ones.
    """
    visible = "".join(_visible(character) for character in text)
    composed = unicodedata.normalize("NFC", visible)
    digits = "".join(_plain_digit(character) for character in composed)
    return joined(digits.translate(_MARKS))


def joined(text: str) -> str:
    """Return `text` with single spaces and none at its ends."""
    return _BLANKS.sub(" ", text).strip()


def upper_case(text: str) -> str:
    """Return `text` in capitals, composed, as the base tokenizers expect Latin text."""
    return unicodedata.normalize("NFC", text.upper())


def plain(text: str) -> str:
    """Normalise a language without its own rules: cleaned, upper case, ideographs separated."""
    previous = None
    result = text
    while result != previous:
        # A few letters change again when their capital is composed; two rounds are enough.
        previous, result = result, joined(_CJK.sub(r" \1 ", upper_case(cleaned(result))))
    return result
