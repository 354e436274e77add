"""Makes speech from a text, a speaker and trained weights.

The text is normalised by the same rules as the training texts; the codes are decoded by the codec
that made the training codes.
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
from unbroken_tts.prepare.fronts import DEFAULT, front_end
from unbroken_tts.prepare.indextts25_front import without_token
from unbroken_tts.progress import Progress
from unbroken_tts.speak.speaker import Speaker
from unbroken_tts.speak.voice import Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenLine:
    """A text, normalised and encoded for a voice."""

    text: str
    """Normalised."""
    ids: list[int]
    """Token ids."""
    unknown: str
    """Characters for which the tokenizer has no piece, each once; they are not spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """The speech of a voice."""

    codes: list[int]
    """Without start and stop."""
    wave: Wave
    """At the codec's sample rate."""
    was_cut: bool
    """Whether the model ran out of positions before the stop token."""


def line_of(
    text: str, language: str, tokenizer: Tokenizer, longest: int, front: str = DEFAULT
) -> SpokenLine:
    """Normalise and encode a text.

    Args:
        text: Any text.
        language: Language whose rules normalise the text, such as `am`.
        tokenizer: The voice's tokenizer.
        longest: Number of tokens the model has positions for.
        front: The text front end of the training.

    Raises:
        DataInvalid: Nothing is left to say, it is too long, or the front end can't read it.
    """
    normal = front_end(text, language, front)
    ids = tokenizer.encode(normal)
    if not any(character.isalnum() for character in without_token(normal)):
        raise DataInvalid(
            f"The text {text!r} contains no letter and no number after normalisation.",
            "There is nothing to speak.",
            "Give a text with letters or numbers.",
        )
    if len(ids) > longest:
        raise DataInvalid(
            f"The text has {len(ids)} tokens, the model has positions for {longest}.",
            "The model can't process tokens after its last position.",
            "Split it into several sentences.",
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
    """Speak several lines as a batch, with a key-value cache.

    Args:
        voice: The voice.
        lines: The texts; at least one.
        speakers: The speakers, one for each line.
        sampling: The sampling settings.
        progress: Called with (codes so far, largest possible number).

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
