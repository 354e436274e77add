"""The global generators of this process: torch on every device, numpy, python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from unbroken.state.mix import mix64_each, mix64_on

Seeds: TypeAlias = tuple[int, int, int]
"""Of torch, 64-bit; of numpy, 32-bit; of `random`, 64-bit."""
_FIRST_32: Final = 0xFFFFFFFF
_python: Any = random.seed.__self__  # type: ignore[attr-defined]  # the global generator itself
_seed_python: Any = super(random.Random, _python).seed
"""Sets it without asking what kind of seed it is given, which takes as long again."""


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
    set_seeds(seeds_of(seed))


def seeds_of(seed: int) -> Seeds:
    """Return what every generator is set to by one 64-bit seed."""
    mixed = mix64_on(0, seed)
    return seed, mix64_on(mixed, 1) & _FIRST_32, mix64_on(mixed, 2)


def set_seeds(seeds: Seeds) -> None:
    """Do what `seed_everything` does, with seeds that are derived already."""
    seed = seeds[0]
    torch.default_generator.manual_seed(seed)
    for each in (torch.cuda, torch.xpu):
        if each.is_initialized():
            each.manual_seed_all(seed)
    if mps_is_available():
        torch.mps.manual_seed(seed)
    np.random.seed(seeds[1])  # noqa: NPY002  # likewise
    _seed_python(seeds[2])
    _python.gauss_next = None


def seeds_of_each(seeds: npt.NDArray[np.uint64]) -> Sequence[Seeds]:
    """Return the same for each of many 64-bit seeds, (N,), at once."""
    mixed = mix64_each(0, seeds)
    ones = np.ones_like(mixed)
    of_numpy = mix64_each(mixed, ones) & np.uint64(_FIRST_32)
    of_python = mix64_each(mixed, ones + ones)
    return list(zip(seeds.tolist(), of_numpy.tolist(), of_python.tolist(), strict=True))
