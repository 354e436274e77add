"""From one recording and its text to its four feature files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from unbroken import DataInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.codec import Codec
from unbroken_tts.prepare.conditioning import Conditioner
from unbroken_tts.prepare.records import KINDS, UtteranceRecord, audio_digest
from unbroken_tts.prepare.sources import Utterance
from unbroken_tts.prepare.written import write_array

_TOO_LONG = "The model has no place for more; it would have to be cut in the middle."


def feature_path(kind: str, utterance_id: str) -> str:
    """Return where a feature lies, relative to the output directory, with `/`."""
    return f"{kind}/{utterance_id}.npy"


def recording_path(audio: Path, output: Path) -> str:
    """Return where a recording lies, relative to the output directory where there is a way."""
    absolute = Path(os.path.abspath(audio))  # noqa: PTH100 - resolve() would follow links
    try:
        relative = os.path.relpath(absolute, os.path.abspath(output))  # noqa: PTH100 - likewise
    except ValueError:  # another drive
        return absolute.as_posix()
    return Path(relative).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extractor:
    """Makes the features of recordings, all with the same tools."""

    output: Path
    """Directory of the data set."""
    codec: Codec
    """Sound to codes."""
    conditioner: Conditioner
    """Sound to conditioning rows and emotion vector."""
    tokenizer: sentencepiece.SentencePieceProcessor
    """Text to ids."""
    config: GptConfig
    """Limits of the model."""

    def make_directories(self) -> None:
        """Create the feature directories."""
        for kind in KINDS:
            (self.output / kind).mkdir(exist_ok=True)

    def extract(self, utterance: Utterance, text: str) -> UtteranceRecord:
        """Make and write the features of one recording.

        Args:
            utterance: What the source says.
            text: Its text, normalised.

        Returns:
            What to note once all files are written, as they are now.

        Raises:
            DataInvalid: The recording or its text can't be used.
            SettingsInvalid: The disk is full.
        """
        ids = self._text_ids(text)
        stat = utterance.audio.stat() if utterance.audio.exists() else None
        wave = read_audio(utterance.audio, self.codec.sample_rate)
        assert stat is not None
        codes = self.codec.encode(wave, self.codec.sample_rate)
        self._check_codes(codes)
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
            unknown=int((ids == self.tokenizer.unk_id()).sum()),
            condition_len=len(prompt.condition),
            sizes=sizes,
        )

    def _text_ids(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        ids = np.array(self.tokenizer.EncodeAsIds(text), dtype=np.int32)
        limit = self.config.max_text_tokens
        if not len(ids):
            raise DataInvalid(
                "The text is empty once normalised.",
                "There is nothing to say.",
                "Give it a text, or leave it out with --on-bad drop.",
            )
        if len(ids) > limit:
            raise DataInvalid(
                f"The text has {len(ids)} tokens, more than max_text_tokens {limit}.",
                _TOO_LONG,
                "Cut the recording in two, or leave it out with --on-bad drop.",
            )
        return ids

    def _check_codes(self, codes: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        limit = self.config.max_mel_tokens + 1
        if not 0 < len(codes) <= limit:
            raise DataInvalid(
                f"The recording has {len(codes)} codes, the model takes 1 to {limit}"
                " (max_mel_tokens + 1).",
                _TOO_LONG,
                "Cut the recording in two, or leave it out with --on-bad drop.",
            )
