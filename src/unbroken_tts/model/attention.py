"""Causal attention with dropout, for CPUs.

On a CPU torch has no fused attention with dropout: it falls back to separate operations on whole
S x S matrices, half of which the causal mask discards. Here queries are processed in blocks, and a
block is only multiplied with the keys it may see. On other devices, and without dropout, torch's
scaled_dot_product_attention is used.

Letters: B samples, H heads, S rows, d width of a head, n queries of a block, m keys it may see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from unbroken_tts.model.dropout import KeepMask

NAME = "unbroken_blocked"
"""Name by which `transformers` finds this attention."""
_BLOCK = 128


def register() -> None:
    """Register the attention with `transformers`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(  # the signature is that of `transformers`
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute causal attention.

    Args:
        module: The attention layer, which is causal.
        query: (B, H, S, d).
        key: (B, H, m, d).
        value: Likewise.
        attention_mask: Bool, True where a key may be seen; without it the attention is causal.
        dropout: Probability of dropping a weight.
        scaling: Factor of the scores; None means 1 / sqrt(d).
        kwargs: Passed to the attention of `transformers`.

    Returns:
        (B, S, H, d), and None for the weights.
    """
    if not dropout or attention_mask is not None or query.device.type != "cpu":
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return attended, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    blocked: torch.Tensor = _BlockedAttention.apply(  # type: ignore[no-untyped-call]  # torch's own
        query, key, value, scale, dropout
    )
    return blocked, None


class _BlockedAttention(torch.autograd.Function):
    """Processes one sample and block at a time, so that the working set stays in the cache."""

    @staticmethod
    def forward(  # the signature is torch's
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        dropout: float,
    ) -> torch.Tensor:
        samples, heads, rows, width = query.shape
        mask = KeepMask(dropout)
        out = query.new_empty(samples, rows, heads, width)
        hidden = _later_keys(min(rows, _BLOCK), query.dtype)
        saved = []
        for sample, begin, end in _blocks(samples, rows):
            q, k, v = query[sample, :, begin:end], key[sample, :, :end], value[sample, :, :end]
            scores = _product(q, k.mT, scale)  # (H, n, m)
            scores[:, :, begin:] += hidden[: end - begin, : end - begin]
            weights = torch.softmax(scores, dim=-1)
            # Dropped weights are stored as negative values for the backward pass; separate masks
            # would need half as much memory again.
            signs = mask.draw(tuple(weights.shape)).mul_(2).sub_(1)
            signed = signs.to(weights.dtype).mul_(weights)
            out[sample, begin:end] = _product(signed.clamp(min=0), v, mask.scale).transpose(0, 1)
            saved.append(signed)
        ctx.save_for_backward(query, key, value, out, *saved)
        ctx.scales = scale, mask.scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, out, *saved = ctx.saved_tensors
        scale, kept_scale = ctx.scales
        samples, _, rows, _ = query.shape
        d_query, d_key, d_value = (_like_rows(each) for each in (query, key, value))
        # Rows of the softmax's backward pass need sum(d_weights * weights), which is that of
        # d_out * out (Dao et al. 2022, "FlashAttention", appendix B.2).
        sums = (gradient * out).sum(-1).transpose(1, 2).unsqueeze(-1)  # (B, H, S, 1)
        for signed, (sample, begin, end) in zip(saved, _blocks(samples, rows), strict=True):
            kept = signed.clamp(min=0)
            d_out = gradient[sample, begin:end].transpose(0, 1)
            d_kept = _product(d_out, value[sample, :, :end].mT, kept_scale)
            d_scores = d_kept.mul_(kept).addcmul_(
                signed.abs(), sums[sample, :, begin:end], value=-1
            )
            d_value[sample, :, :end] += _product(kept.mT, d_out, kept_scale)
            d_query[sample, :, begin:end] = _product(d_scores, key[sample, :, :end], scale)
            d_key[sample, :, :end] += _product(d_scores.mT, query[sample, :, begin:end], scale)
        return d_query, d_key, d_value, None, None


def _blocks(samples: int, rows: int) -> Iterator[tuple[int, int, int]]:
    for sample in range(samples):
        for begin in range(0, rows, _BLOCK):
            yield sample, begin, min(begin + _BLOCK, rows)


def _later_keys(rows: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the causal mask of a block: 0, and -inf above the diagonal."""
    return torch.full((rows, rows), float("-inf"), dtype=dtype).triu_(1)


def _product(one: torch.Tensor, other: torch.Tensor, factor: float) -> torch.Tensor:
    room = one.new_empty(())
    return torch.baddbmm(room, one, other, beta=0, alpha=factor)


def _like_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return zeros like (B, H, S, d), laid out as (B, S, H, d), as the gradient is joined later."""
    samples, heads, rows, width = tensor.shape
    return tensor.new_zeros(samples, rows, heads, width).transpose(1, 2)
