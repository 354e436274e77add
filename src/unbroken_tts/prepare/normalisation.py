"""Chooses the text rules of a language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from unbroken_tts.prepare.amharic import normalise_amharic
from unbroken_tts.prepare.characters import plain
from unbroken_tts.prepare.english import normalise_english

SCHEME = 1
"""Number of these rules; it changes when the same text would come out differently."""

_RULES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"am": normalise_amharic, "en": normalise_english}
)


def normalise(text: str, language: str) -> str:
    """Return `text` in the one form that tokenizers are trained on and speak from.

    Args:
        text: Any text.
        language: Tag such as `am`, `en` or `en-us`; languages without rules of their own are only
            cleaned and put in capitals.
    """
    return _RULES.get(language.lower().split("-")[0], plain)(text)
