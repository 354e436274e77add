"""The untrained encoders of a `gpt.pth`: never run, kept on the CPU, passed through unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbroken_tts.model.gpt_file import untrained_shapes
from unbroken_tts.model.initial_values import initial_values

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.config import GptConfig


def fresh_untrained_encoders(config: GptConfig, seed: int) -> dict[str, torch.Tensor]:
    """Return encoders for a run without a base: float32 on the CPU, in the order of the file.

    Such a run never uses them; they only make the exported file complete.
    """
    return initial_values(untrained_shapes(config), layers=config.layers, seed=seed)
