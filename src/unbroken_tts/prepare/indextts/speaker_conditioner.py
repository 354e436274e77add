"""The conditioner of IndexTTS-2.5: the speaker vector of CAM++, and the emotion of the `gpt.pth`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
import xxhash

from unbroken import DataInvalid
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.campplus import CamPlusPlus
from unbroken_tts.model.conditioning_encoders import EmotionEncoder, conditioning_fingerprint
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.kaldi_features import RATE, centred, filter_banks
from unbroken_tts.prepare.audio import Wave, resampled
from unbroken_tts.prepare.conditioning import Conditioning
from unbroken_tts.prepare.indextts.precision import full_float32
from unbroken_tts.prepare.indextts.speech_features import SpeechFeatures

LONGEST_SECONDS: Final = 15
"""Seconds of a prompt that 2.5 hears; it cuts off the rest before anything is computed."""


class SpeakerConditioner:
    """Makes the speaker vector and the emotion vector of a recording.

    Args:
        config: The model.
        emotion: The emotion tensors of its `gpt.pth`, by name.
        speaker_model: `campplus_cn_common.bin`.
        features: Computes the speech features.
        device: Where to compute.

    Raises:
        DataInvalid: The speaker model is missing, damaged or foreign.
    """

    NAME: ClassVar[str] = "indextts-2.5"

    def __init__(
        self,
        config: GptConfig,
        emotion: Mapping[str, torch.Tensor],
        speaker_model: Path,
        features: SpeechFeatures,
        device: torch.device,
    ) -> None:
        self._fingerprint = conditioning_fingerprint(emotion)
        self._emotion = EmotionEncoder(config, emotion).to(device)
        self._speaker = _speaker_model(speaker_model)
        self.speaker_fingerprint: str = _fingerprint(self._speaker)
        """XXH3-128 over the tensors of the speaker model."""
        self._speaker.to(device)
        self._features = features
        self._device = device

    @property
    def name(self) -> str:
        """`indextts-2.5`."""
        return self.NAME

    @property
    def fingerprint(self) -> str:
        """Digest of the emotion's tensors, which a base checkpoint has too."""
        return self._fingerprint

    @torch.inference_mode()
    def condition(self, wave: Wave, rate: int) -> Conditioning:
        """Return (1, 192) and (D,) float32, of the first 15 s; see `Conditioner.condition`."""
        longest = LONGEST_SECONDS * rate
        heard = wave if len(wave) <= longest else wave[:longest]
        rows = self._features(heard, rate).rows
        sound = np.ascontiguousarray(resampled(heard, rate, RATE), dtype=np.float32)
        banks = centred(filter_banks(torch.from_numpy(sound))).to(self._device)
        with full_float32(self._device):
            # Unlike in 2.0, every row counts, also one of which half is padding.
            emotion = self._emotion.emotion(rows, len(rows))
            speaker = self._speaker(banks)
        return Conditioning(condition=speaker[None].cpu().numpy(), emo_vec=emotion.cpu().numpy())


def _speaker_model(path: Path) -> CamPlusPlus:
    content = read_archive(path)
    tensors = {name: each for name, each in content.items() if isinstance(each, torch.Tensor)}
    model = CamPlusPlus()
    try:
        model.load(tensors)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:300]
        raise _unusable(path, f"isn't the speaker model CAM++ ({why})") from error
    broken = [name for name, each in model.state_dict().items() if not each.isfinite().all()]
    if broken:
        raise _unusable(path, f"has values that are not finite, in {broken[0]}")
    return model


def _fingerprint(model: CamPlusPlus) -> str:
    whole = xxhash.xxh3_128(f"unbroken speaker model 1, {LONGEST_SECONDS} s\n".encode())
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name} {list(value.shape)}\n".encode())
        whole.update(value.contiguous().numpy().tobytes())
    return whole.hexdigest()


def _unusable(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The file {path} {what}.",
        "Its speaker vectors are the voice of a model of IndexTTS-2.5; others are noise to it.",
        "Copy campplus_cn_common.bin of IndexTTS-2.5 (funasr/campplus) again.",
    )
