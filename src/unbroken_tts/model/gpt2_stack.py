"""The causal transformer: GPT-2 blocks of `transformers` with SDPA attention.

Only the blocks are used, not `GPT2Model`: it adds token and position tables, which this model
doesn't have, and inspects position ids for packed sequences, which synchronises with the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from unbroken_tts.model import attention
from unbroken_tts.model.dropout import Dropout

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.config import GptConfig


class Gpt2Stack(nn.Module):
    """Dropout, blocks, final LayerNorm: (B, S, D) -> (B, S, D), causal.

    Args:
        config: The model.
        dropout: Probability for embeddings, attention weights and residuals; training only.
        checkpointing: Recompute each block in the backward pass instead of keeping its
            activations: less memory, about a third more time.
    """

    def __init__(self, config: GptConfig, dropout: float, *, checkpointing: bool) -> None:
        super().__init__()
        # Imported here: it takes longer than torch itself, and most commands build no model.
        from transformers.models.gpt2.configuration_gpt2 import GPT2Config
        from transformers.models.gpt2.modeling_gpt2 import GPT2Block

        attention.register()
        blocks = GPT2Config(
            n_embd=config.model_dim,
            n_layer=config.layers,
            n_head=config.heads,
            # The fused kernel of GPT-2's tanh approximation; "gelu_new" computes it in separate
            # operations, which makes a step on a CPU about a tenth longer.
            activation_function="gelu_pytorch_tanh",
            layer_norm_epsilon=1e-5,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            resid_pdrop=dropout,
            attn_implementation=attention.NAME,
        )
        self.checkpointing = checkpointing
        self.drop = Dropout(dropout)
        self.h = nn.ModuleList()
        for index in range(config.layers):
            block = GPT2Block(blocks, layer_idx=index)
            block.attn.resid_dropout = Dropout(dropout)
            block.mlp.dropout = Dropout(dropout)
            self.h.append(block)
        self.ln_f = nn.LayerNorm(config.model_dim, eps=1e-5)

    def forward(
        self, hidden: torch.Tensor, cache: Any = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the blocks.

        Args:
            hidden: (B, S, D) embedded inputs.
            cache: A `KeyValueCache` while generating.
            mask: (B, 1, 1, keys) bool, True where a key may be seen; for one-row decoding of
                sequences of unequal length. Without it attention is plain causal.

        Returns:
            (B, S, D) after the final LayerNorm.
        """
        hidden = self.drop(hidden)
        for block in self.h:
            if self.checkpointing and self.training:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            else:
                hidden = block(hidden, past_key_values=cache, attention_mask=mask)
        normed: torch.Tensor = self.ln_f(hidden)
        return normed
