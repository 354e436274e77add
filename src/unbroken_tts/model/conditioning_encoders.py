"""The untrained part of a `gpt.pth`: it makes conditioning and emotion from a prompt's speech.

Training does not run it; `unbroken-tts prepare` does, once per recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import xxhash
from torch import nn

from unbroken_tts.model.conformer import Conformer
from unbroken_tts.model.gpt_file import EMOTION_WIDTH, is_trained
from unbroken_tts.model.perceiver import Perceiver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.config import GptConfig

LEAST_FRAMES = 3
"""Frames that the subsampling convolution needs: 60 ms of speech."""


class EmotionEncoder(nn.Module):
    """Conformer, perceiver and projections of the emotion, by the names in a `gpt.pth`.

    Args:
        config: The model.
        tensors: The untrained tensors of its `gpt.pth` by name; others are ignored. Their shapes
            must be those of the configuration.
    """

    def __init__(self, config: GptConfig, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        # Without memory until the weights are put in: at full size it is 1.4 GB with the speaker's.
        with torch.device("meta"):
            self._build(config)
        wanted = {name: tensors[name].float() for name in self.state_dict()}
        self.load_state_dict(wanted, strict=True, assign=True)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def _build(self, config: GptConfig) -> None:
        emotion = config.emo_condition_module
        self.emo_conditioning_encoder = Conformer(emotion)
        self.emo_perceiver_encoder = Perceiver(emotion, width=EMOTION_WIDTH, latents=1)
        self.emovec_layer = nn.Linear(EMOTION_WIDTH, config.model_dim)
        self.emo_layer = nn.Linear(config.model_dim, config.model_dim)

    def emotion(self, features_TW: torch.Tensor, frames: int) -> torch.Tensor:
        """Return the emotion vector of one recording, (D,) float32; see `ConditioningEncoders`."""
        emotion_1E = self.emo_perceiver_encoder(*self.emo_conditioning_encoder(features_TW, frames))
        vector_D: torch.Tensor = self.emo_layer(self.emovec_layer(emotion_1E))[0]
        return vector_D


class ConditioningEncoders(EmotionEncoder):
    """Those of the emotion, and conformer and perceiver of the speaker."""

    def _build(self, config: GptConfig) -> None:
        super()._build(config)
        speaker = config.condition_module
        self.conditioning_encoder = Conformer(speaker)
        self.perceiver_encoder = Perceiver(
            speaker, width=config.model_dim, latents=config.condition_num_latent
        )

    def forward(self, features_TW: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return conditioning and emotion of one recording.

        Args:
            features_TW: (T, 1024) speech features, T >= 3.
            frames: Leading frames that count, from 3 to T.

        Returns:
            (L, D) float32 conditioning rows and the (D,) float32 emotion vector.
        """
        condition_LD = self.perceiver_encoder(*self.conditioning_encoder(features_TW, frames))
        return condition_LD, self.emotion(features_TW, frames)


def conditioning_fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return XXH3-128 over the untrained tensors of a `gpt.pth`, hexadecimal.

    Values are compared in half precision, so a file has the fingerprint of its float16 copy.

    Args:
        tensors: By name, in any order and precision; trained ones are ignored.
    """
    whole = xxhash.xxh3_128(b"unbroken conditioning 1\n")
    for name in sorted(tensors):
        if is_trained(name):
            continue
        value = tensors[name].detach().to("cpu", torch.float16).contiguous()
        whole.update(f"{name} {list(value.shape)}\n".encode())
        whole.update(value.numpy().tobytes())
    return whole.hexdigest()
