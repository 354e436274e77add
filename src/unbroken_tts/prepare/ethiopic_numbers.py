"""Numbers in Amharic: Ethiopic numerals as values, and values in words.

The words use the folded letters of `amharic.py` (one letter per sound), so that the normaliser
doesn't change them.
"""

from __future__ import annotations

_UNITS = ("ዜሮ", "አንድ", "ሁለት", "ሶስት", "አራት", "አምስት", "ስድስት", "ሰባት", "ስምንት", "ዘጠኝ")
_TENS = ("", "አስር", "ሀያ", "ሰላሳ", "አርባ", "ሀምሳ", "ስልሳ", "ሰባ", "ሰማንያ", "ዘጠና")
_SCALES = ((10**12, "ትሪሊዮን"), (10**9, "ቢሊዮን"), (10**6, "ሚሊዮን"), (10**3, "ሺህ"))
_POINT = "ነጥብ"
_UNLIKE_THEIR_NUMBER = {"ዘጠኝ": "ዘጠነኛ", "ሺህ": "ሺኛ"}
LARGEST = 10**15 - 1
"""The largest number that is read as one number; larger ones are read digit by digit."""

_ONE = ord("፩")
_TEN = ord("፲")
HUNDRED, MYRIAD = "፻", "፼"


def ethiopic_value(numeral: str) -> int:
    """Return the value of an Ethiopic numeral: ፳፻፲፯ is 20 hundreds and 17, so 2017.

    A hundred or myriad without a factor counts once. Works left to right in groups of a hundred, as
    the script is read (The Unicode Standard, chapter "Ethiopic", Numbers).

    Args:
        numeral: Characters from U+1369 to U+137C only.
    """
    whole = hundreds = small = 0
    for character in numeral:
        if character == HUNDRED:
            hundreds += (small or 1) * 100
            small = 0
        elif character == MYRIAD:
            whole = (whole + hundreds + small or 1) * 10_000
            hundreds = small = 0
        elif ord(character) < _TEN:
            small += ord(character) - _ONE + 1
        else:
            small += (ord(character) - _TEN + 1) * 10
    return whole + hundreds + small


def _below_hundred(number: int) -> list[str]:
    tens, unit = divmod(number, 10)
    if not tens:
        return [_UNITS[unit]]
    if not unit:
        return [_TENS[tens]]
    return ["አስራ" if tens == 1 else _TENS[tens], _UNITS[unit]]


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_UNITS[hundreds], "መቶ"] if hundreds else []
    return words + (_below_hundred(rest) if rest or not words else [])


def number_in_words(number: int) -> str:
    """Return a whole number in Amharic words: 2017 is ሁለት ሺህ አስራ ሰባት.

    Args:
        number: 0 to `LARGEST`.
    """
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} is outside 0 to {LARGEST}")
    words: list[str] = []
    rest = number
    for scale, name in _SCALES:
        count, rest = divmod(rest, scale)
        if count:
            words += [*_below_thousand(count), name]
    if rest or not words:
        words += _below_thousand(rest)
    return " ".join(words)


def digits_in_words(digits: str) -> str:
    """Return digits one by one, as telephone numbers and decimals are read."""
    return " ".join(_UNITS[int(digit)] for digit in digits)


def decimal_in_words(whole: str, fraction: str | None) -> str:
    """Return a decimal number in words: 12.05 is አስራ ሁለት ነጥብ ዜሮ አምስት.

    Args:
        whole: ASCII digits before the point. With a leading zero, or when too long for a number,
            they are read one by one.
        fraction: ASCII digits after the point, or None.
    """
    one_by_one = (len(whole) > 1 and whole[0] == "0") or len(whole) > len(str(LARGEST))
    words = digits_in_words(whole) if one_by_one else number_in_words(int(whole))
    return words if fraction is None else f"{words} {_POINT} {digits_in_words(fraction)}"


def ordinal_in_words(words: str) -> str:
    """Return the ordinal of a number in words: ሶስት becomes ሶስተኛ, አስር becomes አስረኛ.

    The ending -ኛ changes the last consonant to its first order (ት to ተ).
    """
    head, blank, last = words.rpartition(" ")
    if last in _UNLIKE_THEIR_NUMBER:
        return head + blank + _UNLIKE_THEIR_NUMBER[last]
    final = last[-1]
    is_sixth_order = (ord(final) - 0x1200) % 8 == 5  # the vowel-less order of its row
    return f"{words[:-1]}{chr(ord(final) - 5)}ኛ" if is_sixth_order else f"{words}ኛ"
