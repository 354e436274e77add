"""Random generators of one's own: each kind's state as plain values, and put back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch

from unbroken.state.digest import bytes_digest
from unbroken.state.foreign import while_loading
from unbroken.state.stored import in_memory
from unbroken.tree import leaves

Generator: TypeAlias = (
    "torch.Generator | np.random.Generator | np.random.RandomState | random.Random"
)

KINDS: dict[type, str] = {
    torch.Generator: "torch",
    np.random.Generator: "numpy",
    np.random.RandomState: "numpy.RandomState",
    random.Random: "random",
}
"""What a saved state calls them; a class derived from one of them may hold more, and is none."""


def is_generator(value: Any) -> bool:
    """Say whether an object is a random generator whose state is known."""
    return type(value) in KINDS


def generator_state(generator: Any) -> dict[str, Any]:
    """Return `kind` of a generator, its `state`, and the `bits` that a numpy one draws from."""
    kind = next(name for base, name in KINDS.items() if isinstance(generator, base))
    if isinstance(generator, torch.Generator):
        return {"kind": kind, "device": str(generator.device), "state": generator.get_state()}
    if isinstance(generator, np.random.Generator):
        return {"kind": kind, "state": dict(generator.bit_generator.state)}
    if isinstance(generator, np.random.RandomState):
        return {"kind": kind, "state": dict(generator.get_state(legacy=False))}
    return {"kind": kind, "state": generator.getstate()}


def generator_digest(generator: Any) -> str:
    """Return a digest of a generator's state."""
    parts = [
        each.numpy().tobytes() if isinstance(each, torch.Tensor)
        else each.tobytes() if isinstance(each, np.ndarray)
        else each
        for _, each in leaves(generator_state(generator))
    ]  # fmt: skip
    return bytes_digest(repr(parts).encode())


def set_generator_state(generator: Any, saved: Mapping[str, Any]) -> None:
    """Put a state back that `generator_state` returned."""
    state = saved["state"]
    if isinstance(generator, torch.Generator):
        generator.set_state(in_memory(state).cpu())
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)


def seed_generator(generator: Any, seed: int) -> None:
    """Set a generator of a kind that is known from a 64-bit seed."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        bits: Any = type(generator.bit_generator)
        generator.bit_generator.state = bits(seed).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed & 0xFFFFFFFF)
    else:
        generator.seed(seed)


def new_generator(saved: Mapping[str, Any]) -> Any:
    """Return a generator that goes on as the saved one would have."""
    kind = saved["kind"]
    generator: Any
    if kind == "torch":
        generator = torch.Generator(saved["device"])
    elif kind == "numpy":
        generator = np.random.Generator(_BITS[saved["state"]["bit_generator"]]())
    elif kind == "numpy.RandomState":
        generator = np.random.RandomState(_BITS[saved["state"]["bit_generator"]]())
    elif kind == "random":
        generator = random.Random()  # noqa: S311  # whatever drew before goes on
    else:
        raise ValueError("not a kind of generator that is written")
    set_generator_state(generator, saved)
    return generator


_BITS: dict[str, Any] = {
    each.__name__: each
    for each in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}


class GeneratorPart:
    """A random generator that was declared as a part; the object stays the one that the loop uses."""

    def __init__(self, name: str, generator: Generator) -> None:
        self.name = name
        self.target = generator

    def capture(self) -> dict[str, Any]:
        """Return the generator's state."""
        return generator_state(self.target)

    def differences(self, saved: Any) -> list[str]:
        """Compare what kind of generator it is."""
        live, before = (kind_of(each) for each in (self.capture(), saved))
        return [] if live == before else [f"{self.name}: is a {live} generator, was {before}"]

    def restore(self, saved: Any) -> None:
        """Set the generator's state.

        Raises:
            StateMismatch: It did not take it.
        """
        with while_loading(self.name):
            set_generator_state(self.target, saved)


def kind_of(state: Any) -> str:
    """Return what a generator is, and what it draws from, as its state tells."""
    if not isinstance(state, Mapping) or "kind" not in state:
        return "no"
    inner = state.get("state")
    bits = inner.get("bit_generator", "") if isinstance(inner, Mapping) else ""
    return " ".join(
        each for each in (str(state["kind"]), str(bits), state.get("device", "")) if each
    )
