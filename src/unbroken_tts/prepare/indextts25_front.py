"""The text rules of the inference program of IndexTTS-2.5, as far as they can be followed without it.

They are those of `infer_generator` in indextts/infer_v2_5.py of index-tts/index-tts, in its order: map
marks; normalise (Chinese, English, Spanish only); write small letters (Chinese, English, Japanese);
put special tokens around annotated pronunciations; write names of special tokens in capitals; put the
language's token before the text. Spanish goes through NeMo and Japanese through a reading in kana,
neither of which is followed here.
"""

from __future__ import annotations

import re
from typing import Final

from unbroken import DataInvalid
from unbroken_tts.data.whisper_tokens import LANGUAGES
from unbroken_tts.prepare.indextts_front import follow_normaliser, map_marks, package

SCHEME: Final = 1
"""Version of the rules; it changes when the result for any text changes."""
_NORMALISED: Final = frozenset({"en", "zh"})
_NOT_FOLLOWED: Final = {
    "es": "Spanish, which the program normalises with NeMo",
    "ja": "Japanese, which the program reads in kana first",
}
# A word with its pronunciation, such as <going|G OW1 . IH0 NG>.
_ANNOTATED: Final = re.compile(r"<([^|>\n]+)\|([^>\n]+)>")
_SPECIAL: Final = re.compile(r"<\|([^|]+)\|>")
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_KANA: Final = re.compile("[\u3040-\u309f]+|[\u30a0-\u30ff]+")
_LANGUAGE_TOKEN: Final = re.compile(r"<\|[a-z]{2,3}\|> ")


def follow_indextts25(text: str, language: str) -> str:
    """Return what IndexTTS-2.5 gives to its tokenizer for a text, its language's token included.

    Args:
        text: Any text; one without characters stays empty.
        language: Code of a language that has a token, such as `am`.

    Raises:
        DataInvalid: The language has no token, or the program reads the text in a way that can't be
            followed here.
    """
    code = language.strip().lower()
    if code not in LANGUAGES:
        raise DataInvalid(
            f"The language {language!r} has no token in the vocabulary of IndexTTS-2.5.",
            "Each of its texts begins with one; the model takes the language from it.",
            "Name one of: " + " ".join(LANGUAGES),
        )
    if not text.strip():
        return ""
    if code in _NOT_FOLLOWED:
        raise _unlike(text, f"is {_NOT_FOLLOWED[code]}")
    spoken = map_marks(text)
    if code in _NORMALISED:
        if _ANNOTATED.search(spoken):
            raise _unlike(text, "has an annotation between words that the program normalises")
        spoken = _normalised(spoken).lower()
    spoken = _ANNOTATED.sub(_pronounced, spoken)
    return f"<|{code}|> " + _SPECIAL.sub(lambda found: found[0].upper(), spoken)


def without_token(text: str) -> str:
    """Return a text without the token of its language, if it begins with one."""
    return _LANGUAGE_TOKEN.sub("", text, count=1)


def _normalised(text: str) -> str:
    try:
        return follow_normaliser(text)
    except DataInvalid as error:
        advice = (
            f"Write it out in the text, or install {package()}, which the program reads it with."
        )
        raise DataInvalid(error.what, error.why, advice) from error


def _pronounced(found: re.Match[str]) -> str:
    """Return a pronunciation as the program encodes it; kana stand for themselves."""
    word, sounds = found[1], found[2].upper()
    if _KANA.fullmatch(sounds):
        return f" {sounds} "
    token = f"<|SPECIAL_TOKEN_{2 if _HAN.search(word) else 1}|>"
    return f"{token}{sounds}{token}"


def _unlike(text: str, what: str) -> DataInvalid:
    return DataInvalid(
        f"The text {text[:80]!r} {what}.",
        "The ids of the training would not be those of the inference program.",
        "Omit it, or write it without what is named.",
    )
