"""Computes the loss of a step from the loss sums of its micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.gpt import LossSums


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTotals:
    """Numbers of targets of a whole step batch."""

    text: int
    """Text targets: every token and one stop per sample."""
    mel: int
    """Mel targets: every code and one stop per sample."""


def weighted_loss(
    sums: LossSums, totals: TokenTotals, text_weight: float, mel_weight: float
) -> torch.Tensor:
    """Return a micro-batch's share of the step's loss, () float32.

    The shares of all micro-batches of a step add up to text_weight * mean text loss + mel_weight *
    mean mel loss over the step batch, so the size of the micro-batches only affects rounding.
    """
    text = sums.text_loss_sum * (text_weight / totals.text)
    return text + sums.mel_loss_sum * (mel_weight / totals.mel)


def legacy_loss(
    sums: LossSums, text_weight: float, mel_weight: float, grad_accumulation: int
) -> torch.Tensor:
    """Return a micro-batch's loss with the weighting of the earlier trainer, () float32.

    Token means over the micro-batch, divided by the configured number of micro-batches of a step:
    every micro-batch has the same weight, whatever its number of tokens.
    """
    text = sums.text_loss_sum / sums.text_tokens
    mel = sums.mel_loss_sum / sums.mel_tokens
    return (text_weight * text + mel_weight * mel) / grad_accumulation
