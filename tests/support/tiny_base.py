"""A tiny base checkpoint, and data and a tokenizer that extend its vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from support.pairs import write_pairs, write_tokenizer
from support.tiny_trainer import TinyTrainer
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

PIECES = 40
"""Pieces of the base tokenizer, which `write_tiny_trainer` writes."""
EXTENDED = 52
"""Pieces of the extended one; the first ones are the base's."""


@dataclass(frozen=True)
class TinyBase:
    """The files."""

    gpt: Path
    tokenizer: Path
    data: Path

    @property
    def flags(self) -> tuple[object, ...]:
        """Return the flags that train the extended vocabulary on the base."""
        return (
            *("--base-checkpoint", self.gpt),
            *("--tokenizer", self.tokenizer),
            *("--train-manifest", self.data / "train_pairs.jsonl"),
            *("--val-manifest", self.data / "val_pairs.jsonl"),
        )


def write_tiny_base(trainer: TinyTrainer, root: Path) -> TinyBase:
    """Write a gpt.pth with random weights, the extended tokenizer, and data that uses it."""
    config = GptConfig.from_yaml(trainer.root / "config.yaml")
    model = VoiceGpt(config, PIECES)
    model.initialise(17)
    with torch.no_grad():
        # A head's bias begins at zero, where neither decay nor a mean would show.
        model.text_head.extension_bias.normal_(generator=torch.Generator().manual_seed(1))
    write_gpt_pth(root / "gpt.pth", merge(model, fresh_untrained_encoders(config, 17)))
    write_tokenizer(root / "extended.model", EXTENDED)
    write_pairs(root / "data", 44, split="train", vocabulary=EXTENDED)
    write_pairs(root / "data", 12, split="val", seed=1, vocabulary=EXTENDED)
    return TinyBase(root / "gpt.pth", root / "extended.model", root / "data")
