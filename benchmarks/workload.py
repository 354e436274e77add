"""What both ways of training are given: the same model, samples, dropout and precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from length_mix import POPULATION, LengthMix, choose, draw_lengths

from unbroken_tts.model.config import ConditionModule, GptConfig

LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01
TEXT_WEIGHT, MEL_WEIGHT = 0.2, 0.8
CLIP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One setting of the benchmark."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    """Text pieces."""
    codes: int
    """Size of the code book."""
    dropout: float
    batch: int
    """Samples of a step; one micro-batch."""
    steps: int
    """Steps of a round, which is an epoch over steps * batch samples."""
    shrink: int
    """Divides the lengths of the samples."""
    threads: int
    """Of one operation."""
    precision: Literal["fp32", "bf16"]

    def config(self) -> GptConfig:
        """Return the model; its encoders, which are never run, are kept tiny."""
        module = ConditionModule(
            output_size=4, linear_units=8, attention_heads=1, num_blocks=1, perceiver_mult=0.2
        )
        return GptConfig(
            model_dim=self.width,
            layers=self.layers,
            heads=self.heads,
            max_mel_tokens=1815,
            max_text_tokens=600,
            number_mel_codes=self.codes + 2,
            start_mel_token=self.codes,
            stop_mel_token=self.codes + 1,
            dropout=self.dropout,
            condition_module=module,
            emo_condition_module=module,
        )

    def population(self) -> LengthMix:
        """Return the lengths of the data set that the samples are taken from."""
        return draw_lengths(POPULATION, seed=1, shrink=self.shrink)

    def lengths(self) -> LengthMix:
        """Return the lengths of the samples."""
        return choose(self.population(), self.batch, self.steps)

    def autocast(self) -> Callable[[], AbstractContextManager[object]]:
        """Return what makes the context of a forward pass."""
        return lambda: torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTimes:
    """One checkpoint."""

    stall: float
    """Seconds until training could have gone on."""
    total: float
    """Seconds until the save was as durable as this trainer makes it."""
    size: int
    """Bytes written."""


class Way(Protocol):
    """A way of training."""

    def train(self, steps: int) -> int:
        """Train some steps; return the targets they had (tokens, codes and stops)."""
        ...

    def save(self) -> SaveTimes:
        """Write a checkpoint."""
        ...


def directory_size(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
