"""A small random model and batches for it, for tests that need one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from unbroken_tts.data.batch import Batch
from unbroken_tts.model.config import ConditionModule, GptConfig
from unbroken_tts.model.gpt import VoiceGpt

if TYPE_CHECKING:
    from collections.abc import Sequence

VOCABULARY = 20
"""Text pieces of the tiny model, unless a test asks for others."""


def tiny_config(**changes: Any) -> GptConfig:
    """Return a configuration of two layers and width 12; `changes` replaces fields."""
    module = ConditionModule(
        output_size=4, linear_units=8, attention_heads=1, num_blocks=1, perceiver_mult=0.2
    )
    fields: dict[str, Any] = {
        "model_dim": 12,
        "layers": 2,
        "heads": 3,
        "max_mel_tokens": 40,
        "max_text_tokens": 20,
        "number_text_tokens": VOCABULARY,
        "number_mel_codes": 34,
        "start_mel_token": 32,
        "stop_mel_token": 33,
        "condition_num_latent": 4,
        "condition_module": module,
        "emo_condition_module": module.model_copy(update={"perceiver_mult": 0.01}),
    }
    return GptConfig(**(fields | changes))


def tiny_speaker_config(**changes: Any) -> GptConfig:
    """Return that of a model like IndexTTS-2.5, with a language table of 107 rows."""
    fields = {"spk_cond_mode": "campplus", "language_rows": 107, "speed_rows": False}
    return tiny_config(**(fields | changes))


def tiny_model(
    config: GptConfig | None = None,
    vocabulary: int = VOCABULARY,
    *,
    frozen_rows: int = 0,
    seed: int = 1,
    **options: Any,
) -> VoiceGpt:
    """Return a model with weights from `seed`, in training mode."""
    model = VoiceGpt(config or tiny_config(), vocabulary, frozen_rows, **options)
    model.initialise(seed)
    return model


def tiny_batch(
    lengths: Sequence[tuple[int, int]] = ((5, 9), (3, 14), (8, 4)),
    *,
    config: GptConfig | None = None,
    vocabulary: int = VOCABULARY,
    seed: int = 7,
) -> Batch:
    """Return random samples of (text tokens, mel codes) each, padded as the collate function does.

    Sample i depends on `seed`, i and its own lengths only, not on its batch mates.
    """
    config = config or tiny_config()
    texts, codes, conditions, emotions = [], [], [], []
    for index, (text_length, code_length) in enumerate(lengths):
        draw = torch.Generator().manual_seed(1_000 * seed + index)
        texts.append(torch.randint(2, vocabulary, (text_length,), generator=draw))
        codes.append(torch.randint(0, config.start_mel_token, (code_length,), generator=draw))
        conditions.append(torch.randn(config.condition_shape, generator=draw))
        emotions.append(torch.randn(config.model_dim, generator=draw))
    return assemble(texts, codes, conditions, emotions, config)


def assemble(
    texts: Sequence[torch.Tensor],
    codes: Sequence[torch.Tensor],
    conditions: Sequence[torch.Tensor],
    emotions: Sequence[torch.Tensor],
    config: GptConfig,
) -> Batch:
    """Pad single samples (int64 ids, float32 conditioning) to one batch."""
    pad = torch.nn.utils.rnn.pad_sequence
    return Batch(
        ids=[f"sample {index}" for index in range(len(texts))],
        text_ids=pad(list(texts), batch_first=True, padding_value=config.stop_text_token),
        text_lengths=torch.tensor([len(text) for text in texts]),
        codes=pad(list(codes), batch_first=True, padding_value=config.stop_mel_token),
        code_lengths=torch.tensor([len(row) for row in codes]),
        condition=torch.stack(list(conditions)),
        emo_vec=torch.stack(list(emotions)),
    )


def rows_of(batch: Batch, indices: Sequence[int]) -> Batch:
    """Return the batch that collating only the samples at `indices` would have made."""
    pick = torch.tensor(list(indices))
    text_lengths, code_lengths = batch.text_lengths[pick], batch.code_lengths[pick]
    return Batch(
        ids=[batch.ids[index] for index in indices],
        text_ids=batch.text_ids[pick, : int(text_lengths.max())],
        text_lengths=text_lengths,
        codes=batch.codes[pick, : int(code_lengths.max())],
        code_lengths=code_lengths,
        condition=batch.condition[pick],
        emo_vec=batch.emo_vec[pick],
    )
