"""Arithmetic that gives other last bits at every call, as kernels do whose threads add in any order."""

from __future__ import annotations

import itertools
from typing import Any

import torch

NOISE = 1e-6
"""Relative, of each entry of a gradient."""
_calls = itertools.count(1)


class Restless(torch.autograd.Function):
    """Passes its input on; backward every entry is off by a little, and never by the same twice."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
        del ctx
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        del ctx
        own = torch.Generator().manual_seed(next(_calls))
        return gradient * (1 + NOISE * torch.randn(gradient.shape, generator=own))


def restless(given: torch.Tensor) -> torch.Tensor:
    """Return the tensor, whose gradient will not repeat itself."""
    found: torch.Tensor = Restless.apply(given)  # type: ignore[no-untyped-call]  # torch's
    return found
