"""Isolation: what happens inside changes nothing outside, whatever happens inside.

Validation and sampling run isolated: evaluation mode inside, and afterwards every submodule has the
training mode it had, every global generator the state it had, also after an error or Ctrl+C.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from unbroken.state.randomness import GeneratorStates, seed_everything


@contextmanager
def isolated(*modules: nn.Module, seed: int) -> Iterator[None]:
    """Run a block in evaluation mode with its own randomness, and put everything back.

    Args:
        modules: Put into evaluation mode inside; each submodule gets its own mode back.
        seed: 64-bit seed of the global generators inside.
    """
    modes = [(each, each.training) for module in modules for each in module.modules()]
    generators = GeneratorStates.capture()
    try:
        for module in modules:
            module.eval()
        seed_everything(seed)
        yield
    finally:
        for each, training in modes:
            each.training = training
        generators.put_back()
