"""The perceiver that reduces a prompt of any length to a fixed number of rows.

The resampler of Flamingo (Alayrac et al. 2022, arXiv 2204.14198) in the form that the original's
checkpoints contain: two layers, heads of 64 channels, latents attend to themselves and the context,
feed-forward with a GELU gate (arXiv 2002.05202), normalisation by the root mean square at the end
only. Modules have the names of the tensors in a `gpt.pth`.

Shape letters: L latents, S rows of the context, E width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from unbroken_tts.model.config import ConditionModule

_DEPTH = 2
_CHANNELS = 64


class Perceiver(nn.Module):
    """Reduces the rows of one context to latents.

    Args:
        module: Sizes of the encoder; its conformer makes the context.
        width: Width E of the latents.
        latents: Number of latents L.
    """

    def __init__(self, module: ConditionModule, *, width: int, latents: int) -> None:
        super().__init__()
        self.proj_context = (
            nn.Linear(module.output_size, width) if module.output_size != width else nn.Identity()
        )
        self.latents = nn.Parameter(torch.zeros(latents, width))
        inner = math.floor(width * module.perceiver_mult * 2 / 3)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Attention(width, module.attention_heads),
                    nn.Sequential(
                        nn.Linear(width, 2 * inner), _GeluGate(), nn.Linear(inner, width)
                    ),
                ]
            )
            for _ in range(_DEPTH)
        )
        self.norm = _RootMeanSquare(width)

    def forward(self, context_SC: torch.Tensor, counts_S: torch.Tensor) -> torch.Tensor:
        """Return the latents, (L, E).

        Args:
            context_SC: (S, C) the conformer's result.
            counts_S: (S,) bool: the rows to attend to.
        """
        context_SE = self.proj_context(context_SC)
        latents_LE: torch.Tensor = self.latents
        for each in self.layers:
            assert isinstance(each, nn.ModuleList)
            attention, feed_forward = each
            latents_LE = latents_LE + attention(latents_LE, context_SE, counts_S)
            latents_LE = latents_LE + feed_forward(latents_LE)
        result_LE: torch.Tensor = self.norm(latents_LE)
        return result_LE


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, heads * _CHANNELS, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * _CHANNELS, bias=False)
        self.to_out = nn.Linear(heads * _CHANNELS, width, bias=False)

    def forward(
        self, latents_LE: torch.Tensor, context_SE: torch.Tensor, counts_S: torch.Tensor
    ) -> torch.Tensor:
        keys, values = self.to_kv(torch.cat([latents_LE, context_SE])).chunk(2, dim=-1)
        query, key, value = (
            rows.unflatten(-1, (-1, _CHANNELS)).transpose(0, 1)
            for rows in (self.to_q(latents_LE), keys, values)
        )
        scores = query @ key.transpose(-2, -1) * _CHANNELS**-0.5
        counts = functional.pad(counts_S, (len(latents_LE), 0), value=True)
        weights = scores.masked_fill(~counts, float("-inf")).softmax(dim=-1)
        result_LE: torch.Tensor = self.to_out((weights @ value).transpose(0, 1).flatten(1))
        return result_LE


class _GeluGate(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        content, gate = rows.chunk(2, dim=-1)
        return functional.gelu(gate) * content


class _RootMeanSquare(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.normalize(rows, dim=-1) * math.sqrt(rows.shape[-1]) * self.gamma
