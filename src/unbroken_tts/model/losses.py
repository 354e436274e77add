"""How the loss sums of micro-batches become the loss of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.gpt import LossSums


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTotals:
    """Targets of a whole step batch, whatever it is cut into."""

    text: int
    """Text targets: every token and one stop per sample."""
    mel: int
    """Mel targets: every code and one stop per sample."""


def weighted_loss(
    sums: LossSums, totals: TokenTotals, text_weight: float, mel_weight: float
) -> torch.Tensor:
    """Return a micro-batch's share of the step's loss, () float32.

    The shares of all micro-batches of a step add up to text_weight * mean text loss + mel_weight *
    mean mel loss over the step batch, so how it was cut changes nothing beyond rounding.
    """
    text = sums.text_loss_sum * (text_weight / totals.text)
    return text + sums.mel_loss_sum * (mel_weight / totals.mel)


def legacy_loss(
    sums: LossSums, text_weight: float, mel_weight: float, grad_accumulation: int
) -> torch.Tensor:
    """Return a micro-batch's loss as the earlier trainer weighted it, () float32.

    Token means over the micro-batch, divided by the configured number of micro-batches of a step:
    every micro-batch weighs the same however few tokens it has.
    """
    text = sums.text_loss_sum / sums.text_tokens
    mel = sums.mel_loss_sum / sums.mel_tokens
    return (text_weight * text + mel_weight * mel) / grad_accumulation
