"""The global generators of this process: torch on every device, numpy, python."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch

from unbroken.state.mix import mix64


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStates:
    """The global generators of this process at one moment."""

    torch_cpu: torch.Tensor
    """(5056,) uint8."""
    torch_devices: dict[str, list[torch.Tensor]]
    """By kind of device, the state of each device's generator: (16,) uint8 with CUDA."""
    numpy: dict[str, Any]
    """State of numpy's legacy global generator."""
    python: tuple[Any, ...]
    """State of the `random` module."""

    @classmethod
    def capture(cls) -> GeneratorStates:
        """Copy the states as they are now."""
        return cls(
            torch_cpu=torch.get_rng_state(),
            torch_devices={
                **{name: each.get_rng_state_all() for name, each in _numbered_devices().items()},
                **({"mps": [torch.mps.get_rng_state()]} if mps_is_available() else {}),
            },
            numpy=np.random.get_state(legacy=False),  # noqa: NPY002  # the global one is meant
            python=random.getstate(),
        )

    def is_same_as(self, other: GeneratorStates) -> bool:
        """Say whether both would draw the same numbers."""
        return (
            torch.equal(self.torch_cpu, other.torch_cpu)
            and self.torch_devices.keys() == other.torch_devices.keys()
            and all(
                torch.equal(mine, others)
                for kind, states in self.torch_devices.items()
                for mine, others in zip(states, other.torch_devices[kind], strict=True)
            )
            and bool(np.array_equal(self.numpy["state"]["key"], other.numpy["state"]["key"]))
            and self.numpy["state"]["pos"] == other.numpy["state"]["pos"]
            and self.python == other.python
        )

    def put_back(self) -> None:
        """Set the global generators to these states."""
        torch.set_rng_state(self.torch_cpu)
        for kind, states in self.torch_devices.items():
            if kind == "mps":
                torch.mps.set_rng_state(states[0])
            else:
                getattr(torch, kind).set_rng_state_all(states)
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


def _numbered_devices() -> dict[str, ModuleType]:
    """Return torch's modules of device kinds that this process uses; asking must create no context."""
    kinds = {"cuda": torch.cuda, "xpu": torch.xpu}
    return {name: each for name, each in kinds.items() if each.is_initialized()}


@cache
def mps_is_available() -> bool:
    """Say whether this machine has a Metal device; its one generator belongs to the process."""
    return torch.backends.mps.is_available()


def seed_everything(seed: int) -> None:
    """Set every global generator of this process, on every device in use, from one 64-bit seed."""
    torch.default_generator.manual_seed(seed)
    for each in _numbered_devices().values():
        each.manual_seed_all(seed)
    if mps_is_available():
        torch.mps.manual_seed(seed)
    np.random.seed(mix64(seed, 1) & 0xFFFFFFFF)  # noqa: NPY002  # likewise
    random.seed(mix64(seed, 2))
