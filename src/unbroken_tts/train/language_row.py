"""Decides which row of the language table of IndexTTS-2.5 a run trains, and what it starts as."""

from __future__ import annotations

from typing import Final

from unbroken import SettingsInvalid
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.languages import new_language

LANGUAGE_ROW: Final = "language_row"
"""Name of the fact that says which row a run trains; a model without the table has none."""
SPOKEN: Final = ("ar", "en", "es", "ja", "zh")
"""Languages that 2.5 was published with; the rows of all others were never trained."""


def language_row(
    settings: TrainSettings, config: GptConfig, tokenizer: Tokenizer, pairs: Pairs
) -> int | None:
    """Return the row that a new run trains; None where the model has no language table.

    Args:
        settings: The settings of the run.
        config: Of the model.
        tokenizer: It knows the languages.
        pairs: The training data: without `--language` the one with most tokens is learnt.

    Raises:
        SettingsInvalid: No row belongs to the language, or the model has no rows.
    """
    if not config.language_rows:
        _require_no_language(settings)
        return None
    language = settings.language or new_language(pairs)
    return _row(tokenizer, language, "--language" if settings.language else "the training data")


def start_note(settings: TrainSettings, tokenizer: Tokenizer, language: int) -> str:
    """Return what the trained row starts as, to be printed."""
    name = tokenizer.languages[language]
    if settings.init_language is not None:
        return f"NOTE: the row of the language {name} starts as that of {settings.init_language}"
    if name in SPOKEN:
        return f"NOTE: the row of the language {name} goes on from the base's"
    return (
        f"NOTE: the base never trained the row of the language {name}; it starts as the noise that lies "
        "there. --init-language es starts it as a language that the base speaks"
    )


def first_values(settings: TrainSettings, tokenizer: Tokenizer) -> int | None:
    """Return the row whose values the trained one starts with; None for its own.

    Raises:
        SettingsInvalid: The base doesn't speak that language.
    """
    source = settings.init_language
    if source is None:
        return None
    row = _row(tokenizer, source, "--init-language")
    if source not in SPOKEN:
        raise SettingsInvalid(
            f"--init-language {source} is not a language that IndexTTS-2.5 was published with.",
            "Its row was never trained: the new one would start as noise.",
            f"Name one of {', '.join(SPOKEN)}.",
        )
    return row


def _row(tokenizer: Tokenizer, language: str, where: str) -> int:
    if not tokenizer.languages:
        raise SettingsInvalid(
            f"The tokenizer {tokenizer.path} has no language tokens, and the weights are of "
            "IndexTTS-2.5.",
            "2.5 reads the language of a text from its first token.",
            "Name the .tiktoken file of 2.5 with --tokenizer, and prepare the texts with it.",
        )
    if language not in tokenizer.languages:
        named = (
            f"{where} names the language {language!r}" if language else f"{where} names no language"
        )
        raise SettingsInvalid(
            f"{named}; the vocabulary has no token for it.",
            "The row that is trained is found by the token.",
            "Name the language of the texts with --language, such as --language am.",
        )
    return tokenizer.languages.index(language)


def _require_no_language(settings: TrainSettings) -> None:
    for flag, value in (
        ("--language", settings.language), ("--init-language", settings.init_language),
    ):  # fmt: skip
        if value is not None:
            raise SettingsInvalid(
                f"{flag} {value} was given, and the weights have no language table.",
                "Only IndexTTS-2.5 has one.",
                f"Omit {flag}, or name the gpt.pth of 2.5.",
            )
