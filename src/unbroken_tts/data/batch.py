"""A padded batch of samples, which the data packages pass to the model.

Letters: B samples, T text tokens, M mel codes, C conditioning rows, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One micro-batch, right-padded, without start and stop tokens."""

    ids: list[str]
    """Pair ids, in order; B of them."""
    text_ids: torch.Tensor
    """(B, T) int64 in [0, vocabulary), padded with the stop token of the text."""
    text_lengths: torch.Tensor
    """(B,) int64: real text tokens of each sample, at most T."""
    codes: torch.Tensor
    """(B, M) int64 in [0, start_mel_token), padded with the stop token of the codes."""
    code_lengths: torch.Tensor
    """(B,) int64: real codes of each sample, at most M."""
    condition: torch.Tensor
    """(B, C, D) float32: speaker conditioning of the prompt."""
    emo_vec: torch.Tensor
    """(B, D) float32: emotion vector of the prompt."""

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`, without blocking where possible."""
        return Batch(
            ids=self.ids,
            text_ids=self.text_ids.to(device, non_blocking=True),
            text_lengths=self.text_lengths.to(device, non_blocking=True),
            codes=self.codes.to(device, non_blocking=True),
            code_lengths=self.code_lengths.to(device, non_blocking=True),
            condition=self.condition.to(device, non_blocking=True),
            emo_vec=self.emo_vec.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU copies asynchronously.

        A `DataLoader` with `pin_memory=True` calls this method by its name.
        """
        return Batch(
            ids=self.ids,
            text_ids=self.text_ids.pin_memory(),
            text_lengths=self.text_lengths.pin_memory(),
            codes=self.codes.pin_memory(),
            code_lengths=self.code_lengths.pin_memory(),
            condition=self.condition.pin_memory(),
            emo_vec=self.emo_vec.pin_memory(),
        )
