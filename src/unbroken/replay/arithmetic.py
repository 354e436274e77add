"""What a run's steps are computed in, and on what: both decide how far rounding goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

_PRECISIONS: Final = {torch.bfloat16: "bf16", torch.float16: "fp16"}
_EXACT_PRODUCTS: Final = "highest"
"""What `torch.get_float32_matmul_precision()` returns where TF32 is not allowed."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Number format and kind of device."""

    precision: str = "fp32"
    """`fp32`, `tf32` (fp32 whose matrix products may use TF32), `bf16` or `fp16`."""
    device: str = "cpu"
    """The type of the device, as torch names it."""

    def __str__(self) -> str:
        """Say both."""
        return f"{self.precision} on {self.device}"


def arithmetic_of(facts: Mapping[str, Any], trained: Iterable[torch.Tensor] = ()) -> Arithmetic:
    """Return what a run computes in.

    Args:
        facts: Its facts. `execution.precision` says the precision; without it, the trained tensors do.
        trained: What is trained, where it lies now. Without any, a run that saw a card is taken to
            have computed on it.
    """
    tensors = list(trained)
    environment, execution = (_group(facts, each) for each in ("environment", "execution"))
    found = [_PRECISIONS.get(each.dtype, "fp32") for each in tensors]
    # bf16 < fp16 < fp32: the coarsest of them
    precision = str(execution.get("precision", min(found, default="fp32")))
    products = environment.get("matmul_precision", _EXACT_PRODUCTS) != _EXACT_PRODUCTS
    convolutions = environment.get("convolutions") == "tf32" and any(map(_is_kernel, tensors))
    if precision == "fp32" and (products or convolutions):
        precision = "tf32"
    seen = "cuda" if environment.get("devices") else "cpu"
    return Arithmetic(precision, tensors[0].device.type if tensors else seen)


def _is_kernel(tensor: torch.Tensor) -> bool:
    """Say whether a card convolves with a tensor: it has a dimension of space or time."""
    return tensor.is_cuda and tensor.dim() > 2


def _group(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}
