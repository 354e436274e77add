"""The conformer that encodes a prompt's speech features, as the original's checkpoints contain it.

Gulati et al. 2020 (arXiv 2005.08100), without the first of the two feed-forward modules; attention
with the two learned biases of Transformer-XL (arXiv 1901.02860, section 3.3). Two details are the
checkpoint's own: the sines are those of absolute positions, and nothing is shifted; the convolution
is normalised by layer. Modules have the names of the tensors in a `gpt.pth`.

Shape letters: T frames, S frames after subsampling, C width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from unbroken_tts.model.gpt_file import POSITIONAL_ROWS, SPEECH_WIDTH, SUBSAMPLED_BINS

if TYPE_CHECKING:
    from unbroken_tts.model.config import ConditionModule

_KERNEL = 15


class Conformer(nn.Module):
    """Encodes the speech features of one recording.

    Args:
        module: Sizes of the encoder.
    """

    def __init__(self, module: ConditionModule) -> None:
        super().__init__()
        self.embed = _Subsampling(module.output_size)
        self.encoders = nn.ModuleList(_Block(module) for _ in range(module.num_blocks))
        self.after_norm = nn.LayerNorm(module.output_size)

    def forward(self, features_TW: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a recording.

        Args:
            features_TW: (T, 1024) speech features, 3 <= T < 10,000.
            frames: Leading frames that count; the others are hidden from all but themselves.

        Returns:
            (S, C) with S = (T - 1) // 2, and (S,) bool: the rows that count.
        """
        hidden_SC, positions_SC = self.embed(features_TW)
        # Row s sees the frames 2 s to 2 s + 2, so it counts if the last of them does.
        counts_S = 2 * torch.arange(len(hidden_SC), device=hidden_SC.device) + 2 < frames
        for block in self.encoders:
            hidden_SC = block(hidden_SC, positions_SC, counts_S)
        return self.after_norm(hidden_SC), counts_S


class _Subsampling(nn.Module):
    """A 3x3 convolution with stride 2 over time and features, then a projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(width * SUBSAMPLED_BINS, width))
        self.pos_enc = _Positions(width)

    def forward(self, features_TW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        convolved_CSF = self.conv(features_TW[None, None])[0]
        rows = convolved_CSF.shape[1]
        hidden_SC = self.out(convolved_CSF.transpose(0, 1).reshape(rows, -1))
        return hidden_SC * math.sqrt(hidden_SC.shape[-1]), self.pos_enc.pe[0, :rows]


class _Positions(nn.Module):
    """The table of sines; its values come from the checkpoint."""

    pe: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, POSITIONAL_ROWS, width))


class _Block(nn.Module):
    """Attention, convolution and feed-forward, each normalised before and added."""

    def __init__(self, module: ConditionModule) -> None:
        super().__init__()
        width = module.output_size
        self.self_attn = _Attention(width, module.attention_heads)
        self.feed_forward = _FeedForward(width, module.linear_units)
        self.conv_module = _Convolution(width)
        self.norm_ff = nn.LayerNorm(width)
        self.norm_mha = nn.LayerNorm(width)
        self.norm_conv = nn.LayerNorm(width)
        self.norm_final = nn.LayerNorm(width)

    def forward(
        self, hidden_SC: torch.Tensor, positions_SC: torch.Tensor, counts_S: torch.Tensor
    ) -> torch.Tensor:
        hidden_SC = hidden_SC + self.self_attn(self.norm_mha(hidden_SC), positions_SC, counts_S)
        hidden_SC = hidden_SC + self.conv_module(self.norm_conv(hidden_SC), counts_S)
        hidden_SC = hidden_SC + self.feed_forward(self.norm_ff(hidden_SC))
        normal_SC: torch.Tensor = self.norm_final(hidden_SC)
        return normal_SC


class _Attention(nn.Module):
    """Self-attention with one bias for contents (u) and one for positions (v)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, width // heads))
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden_SC: torch.Tensor, positions_SC: torch.Tensor, counts_S: torch.Tensor
    ) -> torch.Tensor:
        query, key, value, position = (
            layer(rows).unflatten(-1, (self._heads, -1)).transpose(0, 1)
            for layer, rows in (
                (self.linear_q, hidden_SC),
                (self.linear_k, hidden_SC),
                (self.linear_v, hidden_SC),
                (self.linear_pos, positions_SC),
            )
        )
        contents = (query + self.pos_bias_u[:, None]) @ key.transpose(-2, -1)
        places = (query + self.pos_bias_v[:, None]) @ position.transpose(-2, -1)
        scores = (contents + places) / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~counts_S, float("-inf")).softmax(dim=-1)
        mixed_SC = (weights @ value).transpose(0, 1).flatten(1)
        result_SC: torch.Tensor = self.linear_out(mixed_SC)
        return result_SC


class _FeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)

    def forward(self, hidden_SC: torch.Tensor) -> torch.Tensor:
        result_SC: torch.Tensor = self.w_2(functional.silu(self.w_1(hidden_SC)))
        return result_SC


class _Convolution(nn.Module):
    """A gated pointwise convolution, a depthwise one over 15 frames, and a pointwise one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1)
        self.depthwise_conv = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1)

    def forward(self, hidden_SC: torch.Tensor, counts_S: torch.Tensor) -> torch.Tensor:
        gated_CS = functional.glu(self.pointwise_conv1((hidden_SC * counts_S[:, None]).T), dim=0)
        active_CS = functional.silu(self.norm(self.depthwise_conv(gated_CS).T)).T
        result_CS: torch.Tensor = self.pointwise_conv2(active_CS)
        return result_CS.T * counts_S[:, None]


assert SPEECH_WIDTH == 2 * SUBSAMPLED_BINS + 2  # what the convolution leaves of the features
