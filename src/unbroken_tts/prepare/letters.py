"""Letters of a script, marks, and the words of a text as SentencePiece sees them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

SPACE = "\u2581"
"""What SentencePiece writes for a blank."""

_LETTERS = frozenset({"Lo", "Ll", "Lu", "Lm", "Mn", "Mc"})
_LAST = 0x20000


def is_of_script(character: str, script: str) -> bool:
    """Return whether a character is a letter of a script, by its Unicode name."""
    return unicodedata.category(character) in _LETTERS and unicodedata.name(
        character, ""
    ).startswith(f"{script.upper()} ")


def has_letter(text: str, script: str) -> bool:
    """Return whether a text contains a letter of a script."""
    return any(is_of_script(character, script) for character in text)


def script_letters(script: str) -> list[str]:
    """Return all letters of a script, by code point."""
    return [chr(point) for point in range(_LAST) if is_of_script(chr(point), script)]


def is_mark(character: str) -> bool:
    """Return whether a character is punctuation, a symbol, or a number that is no decimal digit."""
    return unicodedata.category(character)[0] in "PS" or unicodedata.category(character) in {
        "No",
        "Nl",
    }


def script_of(character: str) -> str:
    """Return the script of a letter by its Unicode name, or `marks`, `digits`, `other`."""
    if character.isdecimal():
        return "digits"
    if not unicodedata.category(character).startswith(("L", "M")):
        return "marks" if is_mark(character) else "other"
    name = unicodedata.name(character, "OTHER")
    return "Han" if name.startswith("CJK ") else name.split()[0].capitalize()


def words_of(normalised: Iterable[str]) -> Counter[str]:
    """Count the words of texts that a SentencePiece model has normalised; each begins with U+2581."""
    return Counter(SPACE + word for text in normalised for word in text.replace(SPACE, " ").split())


def segments_of(word: str, script: str) -> Iterator[str]:
    """Yield the longest parts of a word in one script, with the U+2581 before it if there is one."""
    segment = ""
    for character in word:
        if is_of_script(character, script):
            segment += character
            continue
        if segment.strip(SPACE):
            yield segment
        segment = SPACE if character == SPACE else ""
    if segment.strip(SPACE):
        yield segment
