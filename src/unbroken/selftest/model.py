"""The tiny language model of the self-test: one block, with the features of real models.

It has a tied head, frozen rows beside trained rows, dropout, LayerNorm and running statistics.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

OLD_VOICES = 4
"""Number of frozen rows in the table of voices."""
NEW_VOICES = 3


class Block(nn.Module):
    """Causal attention of one head and a feed-forward net, each with its LayerNorm.

    Args:
        width: Of the residual stream.
        dropout: Probability.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_net = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout: nn.Module = nn.Dropout(dropout)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the stream (batch, time, width) after the block."""
        query, key, value = self.query_key_value(self.norm_attention(stream)).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / math.sqrt(stream.shape[2])
        ahead = torch.ones(scores.shape[1:], dtype=torch.bool, device=stream.device).triu(1)
        seen = scores.masked_fill(ahead, -math.inf).softmax(-1) @ value
        stream = stream + self.dropout(self.out(seen))
        net = self.down(functional.gelu(self.up(self.norm_net(stream))))
        after: torch.Tensor = stream + self.dropout(net)
        return after


class Model(nn.Module):
    """Token ids and a voice in, logits out.

    Args:
        vocabulary: Tokens.
        width: Of the residual stream.
        dropout: Probability.
    """

    def __init__(self, vocabulary: int, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.old_voices = nn.Parameter(torch.randn(OLD_VOICES, width), requires_grad=False)
        self.new_voices = nn.Parameter(torch.randn(NEW_VOICES, width))
        self.statistics = nn.BatchNorm1d(width)
        self.block: nn.Module = Block(width, dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.3)

    def forward(self, tokens: torch.Tensor, voice: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, time, vocabulary) of tokens (batch, time) and voices (batch,)."""
        voices = torch.cat([self.old_voices, self.new_voices])
        stream = self.tokens(tokens) + voices[voice][:, None]
        stream = self.statistics(stream.transpose(1, 2)).transpose(1, 2)
        logits: torch.Tensor = self.head(self.norm(self.block(stream)))
        return logits
