"""Computes the losses of a model on held-out samples, weighted by tokens, without side effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unbroken import DataInvalid, isolated
from unbroken_tts.model.base import check_base, load_base, read_base
from unbroken_tts.model.gpt import VoiceGpt

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from pathlib import Path

    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.base import BaseWeights
    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.model.gpt import LossSums
    from unbroken_tts.model.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScore:
    """The losses of one sample."""

    id: str
    """Pair id."""
    text_loss: float
    """Mean cross-entropy of its text targets, nats."""
    mel_loss: float
    """Mean cross-entropy of its mel targets, nats."""
    mel_top1: float
    """Share of its mel targets that were the most likely code, in [0, 1]."""
    text_tokens: int
    """Text targets: its tokens and one stop."""
    mel_tokens: int
    """Mel targets: its codes and one stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The losses of a set of samples: means over tokens, independent of the batches."""

    text_loss: float
    """Mean cross-entropy of the text targets, nats."""
    mel_loss: float
    """Mean cross-entropy of the mel targets, nats."""
    mel_top1: float
    """Share of the mel targets that were the most likely code, in [0, 1]."""
    text_tokens: int
    """Text targets."""
    mel_tokens: int
    """Mel targets."""
    per_sample: list[SampleScore]
    """The scores of each sample, in the given order."""

    def part(self, ids: Container[str]) -> Scores:
        """Return the scores of some of the samples; at least one must be among them."""
        samples = [each for each in self.per_sample if each.id in ids]
        text = sum(each.text_tokens for each in samples)
        mel = sum(each.mel_tokens for each in samples)
        return Scores(
            text_loss=sum(each.text_loss * each.text_tokens for each in samples) / text,
            mel_loss=sum(each.mel_loss * each.mel_tokens for each in samples) / mel,
            mel_top1=sum(each.mel_top1 * each.mel_tokens for each in samples) / mel,
            text_tokens=text,
            mel_tokens=mel,
            per_sample=samples,
        )


def evaluate(
    model: VoiceGpt,
    batches: Iterable[Batch],
    *,
    layout: Layout = "tight",
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Return the scores of a model; the model and all random generators are left unchanged.

    Args:
        model: In any mode; the mode of each submodule is restored, also after an error.
        batches: The samples; in the tight layout, batching changes nothing beyond rounding.
        layout: tight, or legacy for the earlier trainer's padded one.
        progress: Called with the number of samples done, after each batch.

    Raises:
        DataInvalid: There are no samples.
    """
    ids: list[str] = []
    counts: list[torch.Tensor] = []
    sums: list[torch.Tensor] = []
    with isolated(model, seed=0), torch.inference_mode():
        for batch in batches:
            sums.append(_columns(model(batch, layout, per_sample=True)))
            counts.append(torch.stack([batch.text_lengths, batch.code_lengths]) + 1)
            ids.extend(batch.ids)
            if progress is not None:
                progress(len(ids))
        if not ids:
            raise DataInvalid(
                "There are no samples to evaluate.",
                "A mean needs at least one sample.",
                "Name a manifest with at least one pair.",
            )
        # Fetched once at the end: synchronising after each batch would leave the device idle.
        rows = torch.cat(sums, dim=1).double().cpu().T.tolist()
        tokens = torch.cat(counts, dim=1).cpu().T.tolist()
    return _scores(ids, rows, tokens)


def model_from_file(path: Path, config: GptConfig, vocabulary: int | None = None) -> VoiceGpt:
    """Build a model with the weights of a file, in whatever form they were published.

    Args:
        path: The file; nothing in it is executed.
        config: The model; whether it has speed rows is taken from the file.
        vocabulary: Number of pieces of the tokenizer; None takes it from the file.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
        SettingsInvalid: It does not fit the configuration or the tokenizer.
    """
    return model_from_base(read_base(path), config, vocabulary)


def model_from_base(
    base: BaseWeights, config: GptConfig, vocabulary: int | None = None
) -> VoiceGpt:
    """Build a model with weights that were read.

    Args:
        base: The weights.
        config: The model; whether it has speed rows is taken from the weights.
        vocabulary: Number of pieces of the tokenizer; None takes it from the weights.

    Raises:
        SettingsInvalid: They don't fit the configuration or the tokenizer.
    """
    config = base.config_for(config)
    vocabulary = base.vocabulary if vocabulary is None else vocabulary
    check_base(base, config, vocabulary)
    model = VoiceGpt(config, vocabulary)
    load_base(model, base)
    return model


def _columns(sums: LossSums) -> torch.Tensor:
    hits = sums.mel_top1_hits.to(sums.mel_loss_sum.dtype)
    return torch.stack([sums.text_loss_sum, sums.mel_loss_sum, hits])


def _scores(ids: list[str], rows: list[list[float]], tokens: list[list[int]]) -> Scores:
    samples = [
        SampleScore(
            id=name,
            text_loss=text / text_tokens,
            mel_loss=mel / mel_tokens,
            mel_top1=hits / mel_tokens,
            text_tokens=text_tokens,
            mel_tokens=mel_tokens,
        )
        for name, (text, mel, hits), (text_tokens, mel_tokens) in zip(
            ids, rows, tokens, strict=True
        )
    ]
    text_total = sum(sample.text_tokens for sample in samples)
    mel_total = sum(sample.mel_tokens for sample in samples)
    return Scores(
        text_loss=sum(row[0] for row in rows) / text_total,
        mel_loss=sum(row[1] for row in rows) / mel_total,
        mel_top1=sum(row[2] for row in rows) / mel_total,
        text_tokens=text_total,
        mel_tokens=mel_total,
        per_sample=samples,
    )
