"""Normalises text by the rules of its language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from unbroken_tts.prepare.amharic import normalise_amharic
from unbroken_tts.prepare.characters import plain
from unbroken_tts.prepare.english import normalise_english

SCHEME = 1
"""Version of the rules; it changes when the result for any text changes."""

_RULES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"am": normalise_amharic, "en": normalise_english}
)


def normalise(text: str, language: str) -> str:
    """Return `text` in the normalised form that tokenizers are trained on.

    Args:
        text: Any text.
        language: Tag such as `am`, `en` or `en-us`; text in languages without their own rules is
            only cleaned and put in capitals.
    """
    return _RULES.get(language.lower().split("-")[0], plain)(text)
