"""The recorded figures of the earlier trainer, with the weights and samples they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from support.tiny_model import assemble
from unbroken_tts.model.base import BaseWeights
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unbroken_tts.data.batch import Batch

FOLDER = Path(__file__).parents[1] / "fixtures" / "legacy"
VOCABULARY = 300


@dataclass(frozen=True, slots=True)
class Samples:
    """All 130 recorded samples, by index: 114 for training, then 16 for validation."""

    texts: list[torch.Tensor]
    codes: list[torch.Tensor]
    conditions: list[torch.Tensor]
    emotions: list[torch.Tensor]

    def batch(self, indices: Sequence[int], config: GptConfig) -> Batch:
        """Collate the samples at `indices`."""
        texts, codes, conditions, emotions = (
            [column[index] for index in indices]
            for column in (self.texts, self.codes, self.conditions, self.emotions)
        )
        return assemble(texts, codes, conditions, emotions, config)


def legacy_config() -> GptConfig:
    """Return the configuration of the recorded model."""
    return GptConfig.from_yaml(FOLDER / "config.yaml")


def expected() -> dict[str, Any]:
    """Return what was recorded."""
    content: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
    return content


def samples() -> Samples:
    """Read the recorded samples."""
    with np.load(FOLDER / "samples.npz") as arrays:
        text, codes = arrays["text_ids"].astype(np.int64), arrays["codes"].astype(np.int64)
        text_ends, code_ends = arrays["text_lengths"].cumsum(), arrays["code_lengths"].cumsum()
        prompts = arrays["prompts"]
        condition, emotion = arrays["condition"][prompts], arrays["emo_vec"][prompts]
    return Samples(
        texts=[torch.from_numpy(part) for part in np.split(text, text_ends[:-1])],
        codes=[torch.from_numpy(part) for part in np.split(codes, code_ends[:-1])],
        conditions=list(torch.from_numpy(condition)),
        emotions=list(torch.from_numpy(emotion)),
    )


def recorded_weights(name: str) -> dict[str, torch.Tensor]:
    """Return the 37 trained tensors of weights_base, weights_step24 or weights_step16."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def recorded_base(name: str = "weights_base") -> BaseWeights:
    """Return recorded weights with encoders of our own making, as if read from a file."""
    return BaseWeights(
        origin=name,
        trained=recorded_weights(name),
        untrained_encoders=fresh_untrained_encoders(legacy_config(), seed=5),
        vocabulary=VOCABULARY,
    )


def recorded_model(name: str, *, dropout: float | None = None) -> VoiceGpt:
    """Return a model with recorded weights, in training mode."""
    model = VoiceGpt(legacy_config(), VOCABULARY, dropout=dropout)
    model.load_table(recorded_weights(name))
    return model
