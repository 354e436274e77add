"""The loss of a head with many outputs, without keeping all of its logits in memory.

The logits are by far the largest tensor of a step: positions times 8,000 to 24,000 outputs, and as
much again for their gradient. Here they are computed for some positions at a time, together with the
gradients of the sum of the losses; the backward pass only scales these.

Letters: P positions, D width, V outputs of which the first F are frozen.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from unbroken_tts.model.frozen_rows import ExtendedLinear

# Logits computed at a time. On a CPU about this much stays in the cache and the allocator.
_CHUNK_BYTES = {"cpu": 16 << 20}
_OTHER_CHUNK_BYTES = 256 << 20
_ALIGNED = 64


def summed_losses(
    hidden: torch.Tensor,
    head: ExtendedLinear | torch.nn.Linear,
    targets: torch.Tensor,
    *,
    with_hits: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of the cross-entropies, and the number of targets that were most likely.

    Args:
        hidden: (P, D).
        head: From D to V.
        targets: (P,) int64 in [0, V).
        with_hits: Count the hits; otherwise 0 is returned for them.

    Returns:
        () float32, nats, and () int64. Only the first has a gradient.
    """
    parts: list[torch.Tensor | None]
    if isinstance(head, ExtendedLinear):
        trained = head.extension_weight, head.extension_bias
        parts = [hidden, *trained, head.base_weight, head.base_bias]
    else:
        parts = [hidden, head.weight, head.bias, None, None]
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        parts = [None if each is None else each.to(dtype) for each in parts]
    if device != "cpu" and parts[3] is None:
        parts[1:3] = (_aligned(each) for each in parts[1:3])
    with torch.autocast(device, enabled=False):
        loss, hits = _SummedLosses.apply(  # type: ignore[no-untyped-call]  # torch's own
            *parts, targets, with_hits, torch.is_grad_enabled()
        )
    return loss, hits


def _aligned(rows: torch.Tensor | None) -> torch.Tensor | None:
    """Return a weight (V, D) or a bias (V,) padded with unused outputs to a multiple of 64.

    Fast matrix products of a GPU need rows that begin at multiples of 16 bytes: with 8,194 or
    12,001 outputs they take several times as long as with the padding.
    """
    if rows is None:
        return None
    surplus = -rows.shape[0] % _ALIGNED
    if rows.dim() == 1:
        return functional.pad(rows, (0, surplus), value=-math.inf)
    return functional.pad(rows, (0, 0, 0, surplus))


class _SummedLosses(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  # torch hands over nothing by name
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        base_weight: torch.Tensor | None,
        base_bias: torch.Tensor | None,
        targets: torch.Tensor,
        with_hits: bool,
        with_gradients: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frozen = 0 if base_weight is None else base_weight.shape[0]
        loss = hidden.new_zeros((), dtype=torch.float32)
        hits = targets.new_zeros(())
        # `ctx.needs_input_grad` ignores torch.no_grad().
        wanted = [with_gradients and needed for needed in ctx.needs_input_grad[:3]]
        d_hidden = torch.empty_like(hidden) if wanted[0] else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if wanted[2] else None
        for rows in _chunks(len(targets), frozen + weight.shape[0], hidden.device.type):
            here, target = hidden[rows], targets[rows].unsqueeze(1)
            logits = _logits(here, weight, bias, base_weight, base_bias)
            if with_hits:
                hits += _hits(logits, target)
            total = logits.logsumexp(dim=-1, keepdim=True)
            loss += (total - logits.gather(1, target)).sum()
            if not any(wanted):
                continue
            d_logits = _d_logits(logits, total, target).to(hidden.dtype)
            d_trained = d_logits[:, frozen:]
            if d_hidden is not None:
                torch.mm(d_trained, weight, out=d_hidden[rows])
                if base_weight is not None:
                    d_hidden[rows].addmm_(d_logits[:, :frozen], base_weight)
            if d_weight is not None:
                _add_product(d_weight, d_trained.T, here)
            if d_bias is not None:
                d_bias += d_trained.sum(dim=0, dtype=torch.float32)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.dtypes = weight.dtype, bias.dtype
        ctx.mark_non_differentiable(hits)
        return loss, hits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return (
            None if d_hidden is None else d_hidden * gradient,
            None if d_weight is None else (d_weight * gradient).to(ctx.dtypes[0]),
            None if d_bias is None else (d_bias * gradient).to(ctx.dtypes[1]),
            *[None] * 5,
        )


def _chunks(positions: int, outputs: int, device: str) -> list[slice]:
    size = max(1, _CHUNK_BYTES.get(device, _OTHER_CHUNK_BYTES) // (4 * outputs))
    return [slice(begin, begin + size) for begin in range(0, positions, size)]


def _logits(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    base_weight: torch.Tensor | None,
    base_bias: torch.Tensor | None,
) -> torch.Tensor:
    logits = functional.linear(hidden, weight, bias)
    if base_weight is not None:
        logits = torch.cat([functional.linear(hidden, base_weight, base_bias), logits], dim=-1)
    return logits.float()


def _d_logits(logits: torch.Tensor, total: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return softmax - one-hot, in the memory of the logits."""
    gradient = logits.sub_(total).exp_()
    return gradient.scatter_(1, target, gradient.gather(1, target) - 1)


def _hits(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Count the rows whose first largest logit is that of the target."""
    if logits.device.type == "cpu":
        # On a CPU argmax takes many times as long as amax, and most rows are not hits.
        near = logits.gather(1, target) == logits.amax(dim=-1, keepdim=True)
        rows = near.squeeze(1).nonzero().squeeze(1)
        logits, target = logits[rows], target[rows]
    return (logits.argmax(dim=-1, keepdim=True) == target).sum()


def _add_product(total: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> None:
    if one.dtype == total.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other
