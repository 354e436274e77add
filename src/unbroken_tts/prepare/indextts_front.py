"""The text rules of the inference programs, as far as they can be followed without them.

`indextts` is index-tts/index-tts (indextts/utils/front.py and common.py), `indextts-am` the Amharic
fork RobelAdugna/Indextts_Am-V2. Both clean a text, map marks to those of the base tokenizer, set
East Asian characters apart and write capitals. Before that, IndexTTS2 gives the text to WeTextProcessing:
as Chinese where it has no Latin letter, else as English. Observed of its version 1.2.0, and of wetext
0.1.8: as Chinese, a text is returned as it is unless it has digits or signs of arithmetic (read as
Chinese words) or East Asian characters. As English, words, marks and abbreviations change too. So texts with other than plain
numbers, or with Latin letters, need one of the two packages here as well; the Amharic fork needs none
where a text has an Ethiopic character.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from unbroken import DataInvalid
from unbroken_tts.prepare.chinese_digits import plain_numbers

SCHEME = 1
"""Version of the rules; it changes when the result for any text changes."""

_QUOTES = '\u201c\u201d"\u2018\u2019\uff08\uff09()\u300a\u300b\u3010\u3011[]\u300c\u300d'
# The order decides between marks that begin alike; a Chinese comma is mapped before three of them.
_MARKS = {
    "\uff1a": ",", "\uff1b": ",", ";": ",", "\uff0c": ",", "\u3002": ".", "\uff01": "!",
    "\uff1f": "?", "\n": " ", "\u00b7": "-", "\u3001": ",", "...": "\u2026", ",,,": "\u2026",
    "\u2026\u2026": "\u2026", **dict.fromkeys(_QUOTES, "'"), "\u2014": "-", "\uff5e": "-",
    "~": "-", ":": ",",
}  # fmt: skip
_CHINESE_MARKS = {"$": ".", **_MARKS}
_AMHARIC_MARKS = {
    "።": ".", "፣": ",", "፤": ";", "፥": ":", "፦": ":", "፧": "?", "፨": "!", **_MARKS,
}  # fmt: skip


def _mapping(marks: dict[str, str]) -> Callable[[str], str]:
    pattern = re.compile("|".join(map(re.escape, marks)))
    return lambda text: pattern.sub(lambda found: marks[found[0]], text)


map_marks = _mapping(_MARKS)
"""Maps marks to those of the base tokenizer, as IndexTTS2 and IndexTTS-2.5 do in any language."""
_map_chinese = _mapping(_CHINESE_MARKS)
_map_amharic = _mapping(_AMHARIC_MARKS)

_ETHIOPIC = re.compile("[\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f]")
_LATIN = re.compile("[a-zA-Z]")
_READ_OUT = re.compile(
    "[0-9\u00d7\u00f7\u2264\u2265]"
)  # digits; times, divided by, at most, at least
# East Asian characters, marks and full-width forms: for those the program works in Chinese or
# Japanese, and WeTextProcessing changes them.
_EAST_ASIAN = re.compile(
    "[\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
_APART = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc"
    "\U00020000-\U0002ffff])"
)
_PINYIN = re.compile(
    "(?<![a-z])((?:[bpmfdtnlgkhjqxzcsryw]|[zcs]h)?(?:[aeiou\u00fcv]|[ae]i|u[aio]|ao|ou|i[aue]|"
    "[u\u00fcv]e|[uv\u00fc]ang?|uai|[aeiuv]n|[aeio]ng|ia[no]|i[ao]ng)|ng|er)([1-5])",
    re.IGNORECASE,
)
_IS_SHORT = re.compile(r"(what|where|who|which|how|t?here|it|s?he|that|this)'s", re.IGNORECASE)
_HYPHENATED = re.compile("[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")
_SPEAKER_TAG = re.compile(r"^\s*(?:speaker|spk|ተናጋሪ)\s*\d+\s*[:\uff1a]\s*", re.IGNORECASE)


def follow_indextts(text: str) -> str:
    """Return what IndexTTS2 gives to its tokenizer for a text.

    Raises:
        DataInvalid: The program reads it in a way that can't be followed here; the message says why.
    """
    if len(text.strip()) == 1:
        return text
    return _apart(follow_normaliser(text))


def follow_indextts_am(text: str) -> str:
    """Return what the Amharic fork of IndexTTS2 gives to its tokenizer for a text.

    Raises:
        DataInvalid: It has no Ethiopic character, and IndexTTS2's own rules can't be followed.
    """
    if len(text.strip()) == 1:
        return text
    if not _ETHIOPIC.search(text):
        return _apart(follow_normaliser(text))
    composed = unicodedata.normalize("NFC", _SPEAKER_TAG.sub("", text.strip()))
    return _apart(_map_amharic(re.sub(r"\s+", " ", composed)).strip())


def _apart(text: str) -> str:
    """Set East Asian characters apart and write capitals, as the program does last of all."""
    parts = (part.strip().upper() for part in _APART.split(text.strip()))
    return " ".join(part for part in parts if part)


def follow_normaliser(text: str) -> str:
    """Return what the Chinese or English normaliser makes of a text.

    Raises:
        DataInvalid: That can't be followed here; the message says why.
    """
    if _EAST_ASIAN.search(text):
        raise _unlike(text, "East Asian characters or full-width marks, which it reads as Chinese")
    if not _LATIN.search(text):
        return _map_chinese(_in_chinese(text.rstrip()))
    if _PINYIN.search(text):
        raise _unlike(text, "a Latin syllable with a digit, which it takes for Chinese pinyin")
    words = _IS_SHORT.sub(r"\1 is", text)
    kept = _HYPHENATED.sub(lambda found: found[0].replace("-", "<H>"), words)
    read = _read_by("en", kept)
    return map_marks(re.sub(r"\s*<H>\s*", "-", read) if kept != words else read)


def _in_chinese(text: str) -> str:
    if not _READ_OUT.search(text):
        return text
    plain = plain_numbers(text)
    return _read_by("zh", text) if plain is None else plain


def _read_by(language: str, text: str) -> str:
    reader = _reader(language)
    if reader is None:
        what = (
            "digits or signs, which it reads as Chinese words"
            if language == "zh"
            else "Latin letters, which it reads by English rules"
        )
        raise _unlike(text, what)
    try:
        return str(reader.normalize(text))
    except Exception as error:
        raise _unlike(text, f"something that WeTextProcessing fails at ({error!r})") from error


@cache
def _reader(language: str) -> Any | None:
    """Return the normaliser that the program itself would use here, if it is installed."""
    module = {"zh": "tn.chinese.normalizer", "en": "tn.english.normalizer"}[language]
    options = {"remove_interjections": False, "remove_erhua": False} if language == "zh" else {}
    if platform.system() == "Linux":
        try:
            made = importlib.import_module(module).Normalizer
        except ImportError:
            pass
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            place = base / "unbroken-tts" / "wetext"
            place.mkdir(parents=True, exist_ok=True)
            return made(cache_dir=str(place), overwrite_cache=False, **options)
    try:
        wetext = importlib.import_module("wetext")
    except ImportError:
        return None
    return wetext.Normalizer(lang=language, operator="tn", remove_erhua=False)


def package() -> str:
    """Return the package that the program itself requires on this system."""
    is_common = platform.system() == "Linux" and platform.machine() == "x86_64"
    return "WeTextProcessing" if is_common else "wetext"


def _unlike(text: str, what: str) -> DataInvalid:
    return DataInvalid(
        f"The text {text[:80]!r} has {what}.",
        "The ids of the training would not be those of the inference program, or it would speak "
        "something else than the recording.",
        "Write it out in the text (`unbroken-tts normalise` shows how), choose --front unbroken, or "
        f"install what the program reads it with: python -m pip install {package()}",
    )
