"""Loads the sentences of this package, one per line of a text file beside this module."""

from __future__ import annotations

from pathlib import Path

from unbroken import SettingsInvalid

_FILES = {"am": "amharic.txt", "en": "english.txt"}


def load_sentences(language: str) -> list[str]:
    """Return the sentences of a language in file order.

    Args:
        language: `am` (400 sentences) or `en` (255).

    Raises:
        SettingsInvalid: There are no sentences in that language.
    """
    if language not in _FILES:
        raise SettingsInvalid(
            f"There are no sentences in the language {language!r}, only in am and en.",
            "The demo corpus is spoken from the sentences of this package.",
            "Choose one of these languages, or prepare recordings of your own.",
        )
    path = Path(__file__).with_name(_FILES[language])
    return path.read_text(encoding="utf-8").splitlines()
