"""Dropout with masks that are cheap on a CPU.

On a CPU torch's dropout draws one number per element and keeps a float for it, which takes several
times as long as the rest of an elementwise operation. Here one 64-bit number of the global generator
decides four elements, with 16 bits each, and two bytes per element are kept. On other devices
torch's fused operation is used. Either way the masks follow from the state of the device's global
generator, so restoring that state repeats them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_LEVELS = 1 << 16


class KeepMask:
    """Draws which elements are kept: each independently with probability 1 - p.

    Args:
        p: Probability of dropping an element, in [0, 1]; rounded to a multiple of 2**-16.
    """

    def __init__(self, p: float) -> None:
        self._dropped = round(p * _LEVELS)
        kept = _LEVELS - self._dropped
        self.scale = _LEVELS / kept if kept else 0.0
        """Factor of kept values, which preserves the expected value."""

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return 1 for kept and 0 for dropped, int16, on the CPU."""
        count = math.prod(shape)
        words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None)
        lanes = words.view(torch.int16)[:count].view(shape)
        if self._dropped == _LEVELS:
            return lanes.zero_()
        # -32768 .. 32767 are equally likely; the lowest `dropped` of them drop the element.
        return lanes.ge_(self._dropped - _LEVELS // 2)


class _MaskedScale(torch.autograd.Function):
    """x -> x * mask * scale, keeping two bytes per element for the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, keep: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return keep.to(hidden.dtype).mul_(scale).mul_(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return keep.to(gradient.dtype).mul_(ctx.scale).mul_(gradient), None, None


class Dropout(nn.Dropout):
    """Elementwise dropout in training; uses torch's own on devices other than the CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's name
        """Return the input with elements dropped and the rest scaled; any shape."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        mask = KeepMask(self.p)
        kept: torch.Tensor = _MaskedScale.apply(  # type: ignore[no-untyped-call]  # torch's own
            input, mask.draw(tuple(input.shape)), mask.scale
        )
        return kept
