"""Normalises Amharic text: one spelling per sound, numbers and abbreviations in words.

Normalising is idempotent and preserves the pronunciation: espeak-ng reads a text and its normalised
form with the same phonemes (tested), except for what it can't read (Ethiopic numerals, abbreviations).
"""

from __future__ import annotations

import re

from unbroken_tts.prepare.characters import cleaned, joined, upper_case
from unbroken_tts.prepare.ethiopic_numbers import (
    decimal_in_words,
    ethiopic_value,
    number_in_words,
    ordinal_in_words,
)

_ORDERS = 7
# Rows of letters that sound alike today, from first to seventh order. The first order of ኸ is
# missing: it alone has another vowel (he, not ha), also in espeak-ng.
_SAME_ROWS = (
    ("ሐ", "ሀ", 0),
    ("ኀ", "ሀ", 0),
    ("ኸ", "ሀ", 1),
    ("ሠ", "ሰ", 0),
    ("ዐ", "አ", 0),
    ("ፀ", "ጸ", 0),
)
# The first order of the gutturals has the vowel of the fourth; and the labialised doubles.
_SAME_LETTERS = {
    "ሃ": "ሀ", "ሓ": "ሀ", "ኃ": "ሀ", "ኻ": "ሀ", "ኣ": "አ", "ዓ": "አ",
    "ሗ": "ኋ", "ዃ": "ኋ", "ዀ": "ኈ", "ዂ": "ኊ", "ዄ": "ኌ", "ዅ": "ኍ", "ሧ": "ሷ",
}  # fmt: skip


def _folding() -> dict[int, str]:
    table = {
        ord(source) + order: chr(ord(target) + order)
        for source, target, first in _SAME_ROWS
        for order in range(first, _ORDERS)
    }
    return table | {ord(source): target for source, target in _SAME_LETTERS.items()}


_FOLDING = _folding()


def fold_homophones(text: str) -> str:
    """Return `text` with one letter per sound (the rows of h, s, the glottal stop and ts)."""
    return text.translate(_FOLDING)


# A compound may have endings (ት/ቤቱ, ት/ቤቶች), so only its beginning is matched.
_COMPOUNDS = {
    "ት/ቤ": "ትምህርት ቤ", "መ/ቤ": "መስሪያ ቤ", "ም/ቤ": "ምክር ቤ", "ፍ/ቤ": "ፍርድ ቤ", "ጽ/ቤ": "ጽህፈት ቤ",
    "ክ/ከተማ": "ክፍለ ከተማ", "ክ/ሀገር": "ክፍለ ሀገር", "ቤ/ክርስቲያን": "ቤተ ክርስቲያን", "ጠ/ሚኒስት": "ጠቅላይ ሚኒስት",
    "ሊ/መንበር": "ሊቀ መንበር", "ም/ሊቀ": "ምክትል ሊቀ", "ም/ፕሬ": "ምክትል ፕሬ", "ጠ/ፍርድ": "ጠቅላይ ፍርድ",
}  # fmt: skip
_ABBREVIATIONS = {
    "ዓ.ም": "ዓመተ ምህረት", "ዓ/ም": "ዓመተ ምህረት", "ዓ.ዓ": "ዓመተ ዓለም", "ዓ/ዓ": "ዓመተ ዓለም",
    "እ.ኤ.አ": "እንደ ኤውሮፓ አቆጣጠር", "እ.ኢ.አ": "እንደ ኢትዮጵያ አቆጣጠር",
    "ዶ/ር": "ዶክተር", "ዶ.ር": "ዶክተር", "ፕ/ር": "ፕሮፌሰር", "ኢ/ር": "ኢንጂነር", "መ/ር": "መምህር", "መ/ርት": "መምህርት",
    "ወ/ሮ": "ወይዘሮ", "ወ/ሪት": "ወይዘሪት", "ወ/ት": "ወይዘሪት", "አ/አ": "አዲስ አበባ", "አ.አ": "አዲስ አበባ",
    "ጠ/ሚ": "ጠቅላይ ሚኒስትር", "ጠ/ሚር": "ጠቅላይ ሚኒስትር", "ቤ/ክ": "ቤተ ክርስቲያን", "ት/ት": "ትምህርት", "ት/ርት": "ትምህርት",
    "ጀ/ል": "ጀነራል", "ኮ/ል": "ኮሎኔል", "ሻ/ል": "ሻለቃ", "ሻ/ቃ": "ሻለቃ", "ሻ/በል": "ሻምበል",
    "ገ/ማርያም": "ገብረ ማርያም", "ወ/ማርያም": "ወልደ ማርያም", "ኃ/ማርያም": "ኃይለ ማርያም",
    "ገ/ሚካኤል": "ገብረ ሚካኤል", "ወ/ሚካኤል": "ወልደ ሚካኤል", "ኃ/ሥላሴ": "ኃይለ ሥላሴ", "ገ/ሥላሴ": "ገብረ ሥላሴ",
    "ኃ.የተ.የግ.ማ": "ኃላፊነቱ የተወሰነ የግል ማኅበር", "ኃ/የተ/የግ/ማ": "ኃላፊነቱ የተወሰነ የግል ማኅበር",
    "ኢ.ፌ.ዴ.ሪ": "ኢትዮጵያ ፌዴራላዊ ዴሞክራሲያዊ ሪፐብሊክ", "ተ.መ.ድ": "ተባበሩት መንግሥታት ድርጅት",
    "ወ.ዘ.ተ": "ወዘተ", "ኪ.ሜ": "ኪሎ ሜትር", "ኪ/ሜ": "ኪሎ ሜትር", "ሴ.ሜ": "ሴንቲ ሜትር", "ኪ.ግ": "ኪሎ ግራም",
}  # fmt: skip
_LETTER = "[\u1200-\u135a\u1380-\u138f]"
# A preposition may precede an abbreviation without a space: በዓ.ም, ለዶ/ር, የት/ቤት.
_PREFIX = "(?:እንደ|እስከ|ስለ|እነ|ወደ|[የበለከ])?"


def _patterns() -> tuple[re.Pattern[str], dict[str, str]]:
    words = {fold_homophones(key): fold_homophones(word) for key, word in _ABBREVIATIONS.items()}
    compounds = {fold_homophones(key): fold_homophones(word) for key, word in _COMPOUNDS.items()}

    def alternatives(keys: dict[str, str]) -> str:
        return "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))

    pattern = re.compile(
        f"(?<!{_LETTER})(?P<prefix>{_PREFIX})(?:(?P<compound>{alternatives(compounds)})"
        # The last dot belongs to the abbreviation unless it also ends the text.
        f"|(?P<whole>{alternatives(words)})(?!{_LETTER})(?:\\.(?=\\s+\\S))?)"
    )
    return pattern, words | compounds


_SHORT, _LONG = _patterns()


def _expand(match: re.Match[str]) -> str:
    return match["prefix"] + _LONG[match["compound"] or match["whole"]]


_ETHIOPIC_NUMERAL = re.compile("[\u1369-\u137c]+")
_CLOCK = re.compile(r"(?<![\d:.])(\d{1,2}):([0-5]\d)(?![\d:])")
_NUMBER = re.compile(
    r"(?P<sign>(?<![^\s(\"'])-)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(?P<fraction>\d+))?"
    rf"(?P<percent>\s?%)?(?P<ending>ኛ|ቱ)?(?P<next>{_LETTER}|[^\W\d_])?"
)


def _clock(match: re.Match[str]) -> str:
    hours, minutes = number_in_words(int(match[1])), int(match[2])
    return f"{hours} ሰአት" + (f" ከ{number_in_words(minutes)}" if minutes else "")


def _number(match: re.Match[str]) -> str:
    words = decimal_in_words(match["whole"].replace(",", ""), match["fraction"])
    if match["sign"]:
        words = f"ኔጋቲቭ {words}"
    if match["ending"] == "ኛ":
        words = ordinal_in_words(words)
    elif match["ending"]:
        words = f"{words.removesuffix('ት')}ቱ"  # አምስት and ቱ are spelt አምስቱ
    if match["percent"]:
        words += " በመቶ"
    following = match["next"] or ""
    # An ordinal carries endings (ሶስተኛው); a bare number and the next word are two words.
    return words + (following if match["ending"] or not following else f" {following}")


_ETHIOPIC_MARKS = str.maketrans(
    {
        "፠": " ", "፡": " ", "።": ". ", "፣": ", ", "፤": "; ", "፥": ", ", "፦": ": ", "፧": "? ", "፨": ". ",
    }
)  # fmt: skip
_DOUBLE_WORDSPACE = re.compile("፡\\s*፡")
_BLANK_BEFORE_MARK = re.compile(r"\s+(?=[.,;:?!](?:\s|$))")
_REPEATED_MARK = re.compile(r"([.,;:?!])(?:\s*\1)+")


def _marks(text: str) -> str:
    text = _DOUBLE_WORDSPACE.sub("።", text)  # typed as two word spaces where a keyboard had no ።
    text = text.translate(_ETHIOPIC_MARKS)
    return _REPEATED_MARK.sub(r"\1", _BLANK_BEFORE_MARK.sub("", text))


def _once(text: str) -> str:
    text = fold_homophones(cleaned(text))
    text = _SHORT.sub(_expand, _marks(text))
    text = _ETHIOPIC_NUMERAL.sub(lambda match: str(ethiopic_value(match[0])), text)
    text = _NUMBER.sub(_number, _CLOCK.sub(_clock, text)).replace("/", " ")
    return joined(_marks(upper_case(text)))


def normalise_amharic(text: str) -> str:
    """Return Amharic text in the normalised form that tokenizers are trained on.

    Composed (NFC), without invisible characters; homophone letters folded; abbreviations, Ethiopic
    numerals, whole and decimal numbers, ordinals, percentages and times of day in words; Ethiopic
    punctuation as its Latin counterpart (። is a full stop); Latin letters in capitals; single blanks.

    Args:
        text: Any text.

    Returns:
        The normalised text; normalising it again changes nothing.
    """
    previous = None
    result = text
    while result != previous:
        # Removing something can form a new mark or abbreviation, so repeat until nothing changes.
        previous, result = result, _once(result)
    return result
