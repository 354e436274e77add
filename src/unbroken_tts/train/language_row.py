"""Decides which row of the language table of IndexTTS-2.5 a run trains, and what it starts as."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from unbroken import Mix, SettingsInvalid
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.preflight import Checked
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings

LANGUAGE_ROW: Final = "language_row"
"""Name of the fact that says which row a run trains; a model without the table has none."""
SPOKEN: Final = ("ar", "en", "es", "ja", "zh")
"""Languages that 2.5 was published with; the rows of all others were never trained."""


def language_row(
    settings: TrainSettings,
    config: GptConfig,
    tokenizer: Tokenizer,
    train: Checked,
    mix: Mix | None,
) -> int | None:
    """Return the row that a new run trains; None where the model has no language table.

    Args:
        settings: The settings of the run.
        config: Of the model.
        tokenizer: It knows the languages.
        train: The training data; their texts begin with the tokens of their languages.
        mix: The shares of languages. Without `--language` the one with the largest share is learnt,
            or without shares the one with most tokens.

    Raises:
        SettingsInvalid: No row belongs to the language, no text is in it, or the model has no rows.
    """
    if not config.language_rows:
        _require_no_language(settings)
        return None
    _require_languages(tokenizer)
    spoken = train.first_ids - tokenizer.first_language_id
    if settings.language is None:
        return _most_spoken(spoken, train.pairs, mix)
    row = _row(tokenizer, settings.language, "--language")
    if row not in spoken:
        names = ", ".join(tokenizer.languages[each] for each in np.unique(spoken))
        raise SettingsInvalid(
            f"--language is {settings.language}, and no training text is in it; they are in {names}.",
            "The row would be trained by nothing, and what is spoken would stay unknown.",
            "Name the language of the texts, or prepare them again with --language "
            f"{settings.language}.",
        )
    return row


def _most_spoken(spoken: npt.NDArray[np.int64], pairs: Pairs, mix: Mix | None) -> int:
    """Return the row of the language with most tokens, of those with the largest share of a mix."""
    leading = None if mix is None else mix.leading
    is_led = np.array([leading in (None, language) for language in pairs.languages])
    tokens = (pairs.text_lengths + pairs.code_lengths)[is_led]
    return int(np.bincount(spoken[is_led], weights=tokens).argmax())


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


def _require_languages(tokenizer: Tokenizer) -> None:
    if not tokenizer.languages:
        raise SettingsInvalid(
            f"The tokenizer {tokenizer.path} has no language tokens, and the weights are of "
            "IndexTTS-2.5.",
            "2.5 reads the language of a text from its first token.",
            "Name the .tiktoken file of 2.5 with --tokenizer, and prepare the texts with it.",
        )


def _row(tokenizer: Tokenizer, language: str, where: str) -> int:
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
