"""Gradients that stand between two steps: left over, or to be added to?

A loop that zeroes them at the top of the next step leaves them standing, and they are no state. One
that gathers them over several steps needs them. What a loop did with them the last time tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from unbroken.state.optimizers import OptimizerPart


class StandingGradients:
    """Knows of each optimiser whether its gradients are used up at the end of a step.

    They are where it has stepped with them and where, the last time such gradients stood, the next
    backward pass didn't find them any more. Until that was seen once they count as state.

    Args:
        parts: Every declared optimiser, by name.
    """

    def __init__(self, parts: Mapping[str, OptimizerPart]) -> None:
        self._parts = parts
        self._samples: dict[str, torch.Tensor] = {}
        self._standing: dict[str, torch.Tensor] = {}
        self._applied: set[str] = set()
        self._are_dropped: dict[str, bool] = {}

    def step_over(self, applied: Collection[str]) -> None:
        """Look at what stands at the end of a step.

        Args:
            applied: Names of the optimisers that stepped with it, or that a scaler kept from it.
        """
        self._applied = set(applied)
        self._standing = {}
        for name in applied:
            gradient = self._sample(name).grad
            if gradient is not None:
                self._standing[name] = gradient

    def gradients_in(self) -> None:
        """Look whether what stood at the end of the last step was added to by a backward pass."""
        for name, stood in self._standing.items():
            self._are_dropped[name] = self._samples[name].grad is not stood
        self._standing = {}

    def used_up(self) -> set[str]:
        """Return the leaf paths of the parameters whose gradients are no state between two steps."""
        return {
            path
            for name in self._applied
            if self._are_dropped.get(name, False)
            for path in self._parts[name].parameters
        }

    def _sample(self, name: str) -> torch.Tensor:
        """Return the optimiser's smallest parameter: its gradient is held on to for a moment."""
        if name not in self._samples:
            parameters = self._parts[name].parameters.values()
            self._samples[name] = min(parameters, key=lambda each: each.numel())
        return self._samples[name]
