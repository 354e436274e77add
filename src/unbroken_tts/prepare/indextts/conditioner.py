"""The conditioner of the real IndexTTS2: the encoders of the very `gpt.pth` that is fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from unbroken_tts.model.conditioning_encoders import (
    ConditioningEncoders,
    conditioning_fingerprint,
)
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.audio import Wave
from unbroken_tts.prepare.conditioning import Conditioning
from unbroken_tts.prepare.indextts.precision import full_float32
from unbroken_tts.prepare.indextts.speech_features import SpeechFeatures


class GptConditioner:
    """Makes conditioning and emotion with the untrained encoders of a `gpt.pth`.

    Args:
        config: The model.
        tensors: The untrained tensors of the file, by name.
        features: Computes the speech features.
        device: Where to compute.
    """

    NAME: ClassVar[str] = "indextts"

    def __init__(
        self,
        config: GptConfig,
        tensors: Mapping[str, torch.Tensor],
        features: SpeechFeatures,
        device: torch.device,
    ) -> None:
        self._fingerprint = conditioning_fingerprint(tensors)
        self._encoders = ConditioningEncoders(config, tensors).to(device)
        self._features = features
        self._device = device

    @property
    def name(self) -> str:
        """`indextts`."""
        return self.NAME

    @property
    def fingerprint(self) -> str:
        """Digest of the encoders' tensors, which a base checkpoint has too."""
        return self._fingerprint

    @torch.inference_mode()
    def condition(self, wave: Wave, rate: int) -> Conditioning:
        """Return (32, D) and (D,) float32 in the real model; see `Conditioner.condition`."""
        speech = self._features(wave, rate)
        with full_float32(self._device):
            condition, emotion = self._encoders(speech.rows, speech.whole)
        return Conditioning(condition=condition.cpu().numpy(), emo_vec=emotion.cpu().numpy())
