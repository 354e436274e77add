"""Normalises English text for the base tokenizer: capitals, numbers in words."""

from __future__ import annotations

import re

from unbroken_tts.prepare.characters import plain

# fmt: off
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_DECADES = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_THOUSANDS = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_LARGEST = 10**15 - 1
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ENGLISH_NUMBER = re.compile(
    r"(?P<sign>(?<![^\s(\"'])-)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(?P<fraction>\d+))?"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?(?P<percent>\s?%)?(?P<next>[^\W\d_])?",
    re.IGNORECASE,
)


def _three_digits(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        tens, unit = divmod(rest, 10)
        words.append(_DECADES[tens])
        rest = unit
        if not rest:
            return words
    return words if words and not rest else [*words, _SMALL[rest]]


def english_number(number: int) -> str:
    """Return a whole number from 0 to 10^15 - 1 in English words, without hyphens."""
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{number} is outside 0 to {_LARGEST}")
    words: list[str] = []
    rest = number
    for scale, name in _THOUSANDS:
        count, rest = divmod(rest, scale)
        if count:
            words += [*_three_digits(count), name]
    if rest or not words:
        words += _three_digits(rest)
    return " ".join(words)


def _ordinal(words: str) -> str:
    head, _, last = words.rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{head} {last}".strip()


def _in_english(match: re.Match[str]) -> str:
    whole = match["whole"].replace(",", "")
    one_by_one = (len(whole) > 1 and whole[0] == "0") or len(whole) > len(str(_LARGEST))
    words = (
        " ".join(_SMALL[int(digit)] for digit in whole)
        if one_by_one
        else english_number(int(whole))
    )
    if match["fraction"]:
        words += " point " + " ".join(_SMALL[int(digit)] for digit in match["fraction"])
    if match["ordinal"]:
        words = _ordinal(words)
    if match["sign"]:
        words = f"minus {words}"
    if match["percent"]:
        words += " percent"
    return words + (f" {match['next']}" if match["next"] else "")


def normalise_english(text: str) -> str:
    """Return English text cleaned, in capitals, with its numbers in words; idempotent."""
    return plain(_ENGLISH_NUMBER.sub(_in_english, plain(text)))
