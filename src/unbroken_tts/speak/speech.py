"""Speaking: a text, a speaker and trained weights in; sound out.

The text goes through the same rules as the training texts, the codes back through the codec that
made the training codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbroken import DataInvalid
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.model.generate import SpeechRequest, generate
from unbroken_tts.model.sampling import Sampling
from unbroken_tts.prepare.audio import Wave
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.progress import Progress
from unbroken_tts.speak.speaker import Speaker
from unbroken_tts.speak.voice import Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenLine:
    """A text made ready for a voice."""

    text: str
    """Normalised."""
    ids: list[int]
    """Token ids."""
    unknown: str
    """Characters that the tokenizer has no piece for, each once; they are not spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a voice said."""

    codes: list[int]
    """Without start and stop."""
    wave: Wave
    """At the codec's sample rate."""
    was_cut: bool
    """Whether there was no position left before the voice came to its end."""


def line_of(text: str, language: str, tokenizer: Tokenizer, longest: int) -> SpokenLine:
    """Normalise and encode a text.

    Args:
        text: Any text.
        language: Whose rules to normalise by, such as `am`.
        tokenizer: The voice's.
        longest: Most tokens the model has positions for.

    Raises:
        DataInvalid: Nothing is left to say, or it is too long.
    """
    normal = normalise(text, language)
    ids = tokenizer.encode(normal)
    if not any(character.isalnum() for character in normal):
        raise DataInvalid(
            f"The text {text!r} holds no letter and no number once normalised.",
            "There is nothing to say.",
            "Give a text with letters or numbers.",
        )
    if len(ids) > longest:
        raise DataInvalid(
            f"The text has {len(ids)} tokens, the model has positions for {longest}.",
            "What comes after the last position can't be heard by the model.",
            "Say it in several sentences.",
        )
    has_unknown = tokenizer.unknown_id in ids
    letters = sorted(set(normal) - {" "}) if has_unknown else []
    unknown = "".join(each for each in letters if tokenizer.unknown_id in tokenizer.encode(each))
    return SpokenLine(text=normal, ids=ids, unknown=unknown)


def speak(
    voice: Voice,
    lines: Sequence[SpokenLine],
    speakers: Sequence[Speaker],
    sampling: Sampling,
    *,
    progress: Progress | None = None,
) -> list[Spoken]:
    """Speak lines side by side, with a key-value cache.

    Args:
        voice: Who speaks.
        lines: What to say; at least one.
        speakers: How it sounds, one for each line.
        sampling: How codes are chosen.
        progress: Called with (codes so far, most possible).

    Raises:
        SettingsInvalid: The codec can't make sound.
    """
    utterances = [
        SpeechRequest(text_ids=line.ids, condition=speaker.condition, emo_vec=speaker.emo_vec)
        for line, speaker in zip(lines, speakers, strict=True)
    ]
    every = generate(voice.model, utterances, sampling, progress=progress)
    return [
        Spoken(
            codes=codes,
            wave=voice.codec.decode(np.array(codes, dtype=np.int32)),
            was_cut=len(codes) == voice.model.config.longest_codes,
        )
        for codes in every
    ]
