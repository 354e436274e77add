"""Randomness derived from the position, so that it need not be saved and can't be restored wrongly.

Before each micro-batch the global generators (torch on the CPU and on the current accelerator,
numpy, python) are set from `(seed, step, samples done)`; after the step they are put back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unbroken.state.mix import mix64

SEED_SCHEME = 1
"""Number of the way seeds are derived; the tests hold golden values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStates:
    """The global generators of this process at one moment."""

    torch_cpu: torch.Tensor
    """(5056,) uint8."""
    torch_cuda: torch.Tensor | None
    """(16,) uint8 of the current CUDA device; None without one."""
    numpy: dict[str, Any]
    """State of numpy's legacy global generator."""
    python: tuple[Any, ...]
    """State of the `random` module."""

    @classmethod
    def capture(cls) -> GeneratorStates:
        """Copy the states as they are now."""
        return cls(
            torch_cpu=torch.get_rng_state(),
            torch_cuda=torch.cuda.get_rng_state() if cuda_is_in_use() else None,
            numpy=np.random.get_state(legacy=False),  # noqa: NPY002  # the global one is meant
            python=random.getstate(),
        )

    def is_same_as(self, other: GeneratorStates) -> bool:
        """Say whether both would draw the same numbers."""
        cuda = self.torch_cuda, other.torch_cuda
        return (
            torch.equal(self.torch_cpu, other.torch_cpu)
            and (cuda[0] is cuda[1] or (None not in cuda and torch.equal(*cuda)))  # type: ignore[arg-type]  # neither is None
            and bool(np.array_equal(self.numpy["state"]["key"], other.numpy["state"]["key"]))
            and self.numpy["state"]["pos"] == other.numpy["state"]["pos"]
            and self.python == other.python
        )

    def put_back(self) -> None:
        """Set the global generators to these states."""
        torch.set_rng_state(self.torch_cpu)
        if self.torch_cuda is not None:
            torch.cuda.set_rng_state(self.torch_cuda)
        np.random.set_state(self.numpy)  # noqa: NPY002  # the global generator is the subject
        random.setstate(self.python)


def has_drawn_since(seed: int) -> bool:
    """Say whether a global generator was drawn from since all were set by `seed_everything(seed)`.

    The generators stay as they are.
    """
    now = GeneratorStates.capture()
    seed_everything(seed)
    fresh = GeneratorStates.capture()
    now.put_back()
    return not now.is_same_as(fresh)


def cuda_is_in_use() -> bool:
    """Say whether this process has a CUDA context; asking must not create one."""
    return bool(torch.cuda.is_initialized())


def derived_seed(seed: int, *position: int) -> int:
    """Return the 64-bit seed of a position: `mix64` of scheme, seed and position."""
    return mix64(SEED_SCHEME, seed, *position)


def seed_everything(seed: int) -> None:
    """Set every global generator of this process from one 64-bit seed."""
    torch.default_generator.manual_seed(seed)
    if cuda_is_in_use():
        torch.cuda.manual_seed(seed)
    np.random.seed(mix64(seed, 1) & 0xFFFFFFFF)  # noqa: NPY002  # likewise
    random.seed(mix64(seed, 2))
