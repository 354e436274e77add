"""How many operations training on some samples takes, counted from the samples alone.

The rule is that of "model FLOPs utilisation" (Chowdhery et al. 2022, PaLM, appendix B): 6 operations
for each weight of a matrix and each row that it multiplies (2 forward, 4 backward), and the products
inside of the attention; nothing for recomputing, for padding, or for looking up embeddings. Stricter
than there, the attention counts only the keys that a row may see: half of the square. Positions that
predict nothing cost the heads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from length_mix import LengthMix

    from unbroken_tts.model.config import GptConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Operations of one forward and backward pass over some samples."""

    blocks: float
    """Of the matrices of the transformer's blocks."""
    attention: float
    """Of queries with keys and of weights with values."""
    heads: float
    """Of the two heads, at the positions that predict."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.blocks + self.attention + self.heads


def operations(config: GptConfig, vocabulary: int, mix: LengthMix) -> Operations:
    """Count the operations for samples of these lengths, each as if it were alone.

    Args:
        config: The model.
        vocabulary: Text pieces; the text head has one output more.
        mix: The samples.
    """
    width, layers = config.model_dim, config.layers
    rows = (config.prefix_rows + mix.text + 2 + mix.codes + 1).astype(np.float64)
    seen = float((rows * (rows + 1) / 2).sum())  # keys, over all rows
    return Operations(
        blocks=6 * 12 * width**2 * layers * float(rows.sum()),
        attention=3 * 4 * width * layers * seen,
        heads=6.0
        * width
        * (
            (vocabulary + 1) * float((mix.text + 1).sum())
            + config.number_mel_codes * float((mix.codes + 1).sum())
        ),
    )


def trained_numbers(config: GptConfig, vocabulary: int) -> int:
    """Return how many numbers are trained."""
    from unbroken_tts.model.gpt_file import trained_shapes

    return sum(int(np.prod(shape)) for shape in trained_shapes(config, vocabulary).values())
