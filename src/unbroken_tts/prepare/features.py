"""Makes the four feature files of a recording and its text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbroken import DataInvalid
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.codec import Codec
from unbroken_tts.prepare.conditioning import Conditioner
from unbroken_tts.prepare.records import KINDS, UtteranceRecord, audio_digest
from unbroken_tts.prepare.sources import Utterance
from unbroken_tts.prepare.written import write_array

_TOO_LONG = "The model has no positions for more; it would have to be truncated."


def feature_path(kind: str, utterance_id: str) -> str:
    """Return the path of a feature relative to the output directory, with `/`."""
    return f"{kind}/{utterance_id}.npy"


def recording_path(audio: Path, output: Path) -> str:
    """Return the path of a recording, relative to the output directory if possible."""
    absolute = Path(os.path.abspath(audio))  # noqa: PTH100 - resolve() would follow links
    try:
        relative = os.path.relpath(absolute, os.path.abspath(output))  # noqa: PTH100 - likewise
    except ValueError:  # another drive
        return absolute.as_posix()
    return Path(relative).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extractor:
    """Makes the features of recordings with one codec, conditioner and tokenizer."""

    output: Path
    """Directory of the data set."""
    codec: Codec
    """Makes codes from sound."""
    conditioner: Conditioner
    """Makes conditioning rows and emotion vectors from sound."""
    tokenizer: Tokenizer
    """Makes ids from text."""
    config: GptConfig
    """Configuration of the model, with its limits."""

    def make_directories(self) -> None:
        """Create the feature directories."""
        for kind in KINDS:
            (self.output / kind).mkdir(exist_ok=True)

    def extract(self, utterance: Utterance, text: str) -> UtteranceRecord:
        """Make and write the features of one recording.

        Args:
            utterance: The utterance, from the source.
            text: Its text, normalised.

        Returns:
            The record of the utterance, whose files are all written.

        Raises:
            DataInvalid: The recording or its text can't be used.
            SettingsInvalid: The disk is full.
        """
        ids = self._text_ids(text)
        stat = utterance.audio.stat() if utterance.audio.exists() else None
        wave = read_audio(utterance.audio, self.codec.sample_rate)
        assert stat is not None
        expected = int(len(wave) / self.codec.sample_rate * self.codec.codes_per_second)
        if expected > 2 * self.config.max_mel_tokens:
            self._check_count(expected)  # an hour of sound would take an encoder all memory
        codes = self.codec.encode(wave, self.codec.sample_rate)
        self._check_count(len(codes))
        prompt = self.conditioner.condition(wave, self.codec.sample_rate)
        arrays = {
            "codes": codes,
            "condition": prompt.condition,
            "emo_vec": prompt.emo_vec,
            "text_ids": ids,
        }
        sizes = [
            write_array(self.output / feature_path(kind, utterance.id), arrays[kind])
            for kind in KINDS
        ]
        return UtteranceRecord(
            id=utterance.id,
            audio_path=recording_path(utterance.audio, self.output),
            audio_size=stat.st_size,
            audio_mtime_ns=stat.st_mtime_ns,
            audio_digest=audio_digest(utterance.audio),
            text=text,
            speaker=utterance.speaker,
            language=utterance.language,
            duration=round(len(wave) / self.codec.sample_rate, 4),
            text_len=len(ids),
            code_len=len(codes),
            unknown=int((ids == self.tokenizer.unknown_id).sum()),
            condition_len=len(prompt.condition),
            sizes=sizes,
        )

    def _text_ids(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        ids = np.array(self.tokenizer.encode(text), dtype=np.int32)
        limit = self.config.max_text_tokens
        if not len(ids):
            raise DataInvalid(
                "The text is empty after normalisation.",
                "There is nothing to speak.",
                "Give it a text, or omit it with --on-bad drop.",
            )
        if len(ids) > limit:
            raise DataInvalid(
                f"The text has {len(ids)} tokens, more than max_text_tokens {limit}.",
                _TOO_LONG,
                "Cut the recording in two, or leave it out with --on-bad drop.",
            )
        return ids

    def _check_count(self, codes: int) -> None:
        limit = self.config.max_mel_tokens + 1
        if not 0 < codes <= limit:
            raise DataInvalid(
                f"The recording has {codes} codes, the model takes 1 to {limit}"
                " (max_mel_tokens + 1).",
                _TOO_LONG,
                "Cut the recording in two, or leave it out with --on-bad drop.",
            )
