"""Samples whose lengths are like those of recorded sentences, and how much of an order is padding.

Codes are lognormal with sigma 0.5 around 250 (5 s at 50 codes/s); texts have 0.16 tokens a code, give or
take 20 %. Real corpora differ; these lengths are assumed, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from unbroken.order.step_batches import StepBatches
from unbroken_tts.data.samples import Sample

if TYPE_CHECKING:
    from unbroken_tts.model.config import GptConfig

Lengths: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"

POPULATION = 4_096
"""Samples that an order is made over, so that buckets are as good as in a real run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthMix:
    """Lengths of N samples."""

    text: Lengths
    """(N,): text tokens, without start and stop."""
    codes: Lengths
    """(N,): mel codes, without start and stop."""

    def at(self, indices: Lengths) -> LengthMix:
        """Return the lengths of some of the samples."""
        return LengthMix(text=self.text[indices], codes=self.codes[indices])

    @property
    def tokens(self) -> int:
        """Targets of all samples: every token, every code, and a stop for each."""
        return int((self.text + 1).sum() + (self.codes + 1).sum())


def draw_lengths(samples: int, seed: int, shrink: int = 1) -> LengthMix:
    """Draw lengths.

    Args:
        samples: How many (N).
        seed: Of the draw.
        shrink: Divides all lengths, for a quick look.
    """
    draw = np.random.default_rng(seed)
    codes = 250 * np.exp(0.5 * draw.standard_normal(samples))
    text = 0.16 * codes * np.exp(0.2 * draw.standard_normal(samples))
    return LengthMix(
        text=np.clip(text / shrink, 3, 500).astype(np.int64),
        codes=np.clip(codes / shrink, 10, 1_500).astype(np.int64),
    )


def padded_share(mix: LengthMix, batches: list[Lengths], layout: str) -> float:
    """Return the share of the text and mel positions of all batches that are padding."""
    real = computed = 0
    for batch in batches:
        text, codes = mix.text[batch], mix.codes[batch]
        if layout == "tight":
            rows, longest = text + codes + 3, (text + codes + 3).max()
        else:
            rows, longest = text + codes + 4, text.max() + codes.max() + 4
        real += int(rows.sum())
        computed += int(longest) * len(batch)
    return 1 - real / computed


def bucketed(mix: LengthMix, batch: int, layout: str, seed: int = 1) -> list[Lengths]:
    """Return the step batches of an epoch as the trainer orders them."""
    lengths = mix.text + mix.codes
    if layout == "legacy":
        lengths = mix.codes // 16 * (int(mix.text.max()) + 1) + mix.text
    ids = [str(index) for index in range(len(lengths))]
    return StepBatches(ids, lengths, batch, seed).epoch(0)


def shuffled(samples: int, batch: int, seed: int) -> list[Lengths]:
    """Return the batches of an epoch in random order."""
    order = np.random.default_rng(seed).permutation(samples)
    return [order[begin : begin + batch] for begin in range(0, samples, batch)]


def choose(mix: LengthMix, batch: int, batches: int) -> LengthMix:
    """Return the lengths of some step batches, evenly spaced from short to long ones.

    They stand for the whole population: training on all of it would take hours.
    """
    ordered = sorted(bucketed(mix, batch, "tight"), key=lambda each: mix.codes[each].mean())
    whole = [each for each in ordered if len(each) == batch]
    picked = [whole[int((number + 0.5) / batches * len(whole))] for number in range(batches)]
    return mix.at(np.concatenate(picked))


def make_samples(mix: LengthMix, config: GptConfig, vocabulary: int) -> list[Sample]:
    """Return samples of these lengths with random content."""
    draw = torch.Generator().manual_seed(5)
    shape = (config.condition_num_latent, config.model_dim)
    return [
        Sample(
            id=f"sample {number}",
            text_ids=torch.randint(2, vocabulary, (text,), generator=draw, dtype=torch.int32),
            codes=torch.randint(
                0, config.start_mel_token, (codes,), generator=draw, dtype=torch.int32
            ),
            condition=torch.randn(shape, generator=draw),
            emo_vec=torch.randn(config.model_dim, generator=draw),
        )
        for number, (text, codes) in enumerate(
            zip(mix.text.tolist(), mix.codes.tolist(), strict=True)
        )
    ]
