"""The sizes of a demo: sentences, model, steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unbroken_tts.model.config import GptConfig

SEED = 1_234
"""Seed of the trainings A and B."""
NAIVE_SEED = 4_321
"""Seed of C; a restarted loop shuffles in another order."""
MICRO_BATCH = 8
"""Samples in one forward pass."""
ACCUMULATION = 2
"""Micro-batches in a step; more than one, so that a kill can happen inside a step."""

_ENCODER = {
    "output_size": 4,
    "linear_units": 16,
    "attention_heads": 1,
    "num_blocks": 1,
    "input_layer": "conv2d2",
    "perceiver_mult": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """All numbers of a demo."""

    name: str
    """Its name in the report."""
    amharic: int
    """Number of Amharic sentences; those that share most of their words."""
    voices: int
    """Number of voices, which alternate."""
    val_ratio: float
    """Share of sentences held back for validation."""
    english: int
    """Number of English sentences for the base."""
    base_vocabulary: int
    """Pieces of the base tokenizer."""
    vocabulary: int
    """Pieces after its extension with Ethiopic ones."""
    width: int
    """Model width."""
    layers: int
    """Transformer blocks."""
    heads: int
    """Attention heads."""
    base_steps: int
    """Steps of the base's training on English."""
    steps: int
    """Steps of A and of B."""
    save_every: int
    """Steps between checkpoints."""
    warmup: int
    """Updates until the learning rate reaches its peak."""
    learning_rate: float
    """The peak learning rate."""
    dropout: float
    """Dropout of the model in training."""
    kills: int
    """How often B is killed, at most three."""
    spoken: int
    """Training sentences spoken at the end."""
    unseen: int
    """Held-back sentences spoken at the end."""
    candidates: int
    """Recordings of the same voice with which each spoken sentence is compared."""

    def config(self) -> GptConfig:
        """Return the configuration of the model."""
        return GptConfig.from_mapping(self.gpt_section(), origin="the demo")

    def gpt_section(self) -> dict[str, Any]:
        """Return the `gpt` section of the configuration file."""
        return {
            "model_dim": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "max_mel_tokens": 150,
            "max_text_tokens": 120,
            "number_text_tokens": self.base_vocabulary,
            "number_mel_codes": 514,
            "start_mel_token": 512,
            "stop_mel_token": 513,
            "start_text_token": 0,
            "stop_text_token": 1,
            "condition_num_latent": 4,
            "condition_module": _ENCODER,
            # In the original its perceiver is 1,024 wide for every model size; here it is kept small.
            "emo_condition_module": _ENCODER | {"perceiver_mult": 0.01},
        }


FULL = Scale(
    name="full",
    amharic=200,
    voices=2,
    val_ratio=0.1,
    english=100,
    base_vocabulary=300,
    vocabulary=450,
    width=192,
    layers=4,
    heads=6,
    base_steps=60,
    steps=360,
    save_every=50,
    warmup=20,
    learning_rate=2e-3,
    dropout=0.05,
    kills=3,
    spoken=12,
    unseen=4,
    candidates=32,
)
QUICK = Scale(
    name="quick",
    amharic=100,
    voices=2,
    val_ratio=0.1,
    english=60,
    base_vocabulary=300,
    vocabulary=430,
    width=128,
    layers=3,
    heads=4,
    base_steps=20,
    steps=250,
    save_every=25,
    warmup=15,
    learning_rate=2e-3,
    dropout=0.05,
    kills=3,
    spoken=6,
    unseen=2,
    candidates=32,
)
