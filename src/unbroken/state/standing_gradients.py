"""Gradients that stand between two steps: left over, or to be added to?

A loop that zeroes them at the top of the next step leaves them standing, and they are no state. One
that gathers them over several steps needs them. What a loop did with them the last time tells, where
they are still those that the optimiser has stepped with: a later backward pass may have given others.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping

import torch

from unbroken.state.optimizers import OptimizerPart

_Seen = tuple[weakref.ref[torch.Tensor], int] | None
"""A gradient and how often it was written in place; None where there was none."""


class StandingGradients:
    """Knows of each optimiser whether its gradients are used up at the end of a step.

    They are where it has stepped with them, no backward pass came after that, and where, the last time
    such gradients stood, the next backward pass didn't find them any more. Until that was seen once they
    count as state.

    Args:
        parts: Every declared optimiser, by name.
    """

    def __init__(self, parts: Mapping[str, OptimizerPart]) -> None:
        self._parts = parts
        self._samples: dict[str, list[torch.Tensor]] = {}
        self._stepped_with: dict[str, list[_Seen]] = {}
        self._standing: dict[str, torch.Tensor] = {}
        self._applied: set[str] = set()
        self._are_dropped: dict[str, bool] = {}

    def stepped(self, name: str) -> None:
        """Take in that an optimiser has stepped with the gradients that are there."""
        self._stepped_with[name] = self._seen(name)

    def step_over(self, applied: Collection[str]) -> None:
        """Look at what stands at the end of a step.

        Args:
            applied: Names of the optimisers that stepped with it, or that a scaler kept from it.
        """
        with_, self._stepped_with = self._stepped_with, {}
        self._applied = {n for n in applied if n not in with_ or self._is_still(n, with_[n])}
        self._standing = {}
        for name in self._applied:
            gradient = self._sampled(name)[0].grad
            if gradient is not None:
                self._standing[name] = gradient

    def gradients_in(self) -> None:
        """Look whether what stood at the end of the last step was added to by a backward pass."""
        for name, stood in self._standing.items():
            self._are_dropped[name] = self._samples[name][0].grad is not stood
        self._standing = {}

    def used_up(self) -> set[str]:
        """Return the leaf paths of the parameters whose gradients are no state between two steps."""
        return {
            path
            for name in self._applied
            if self._are_dropped.get(name, False)
            for path in self._parts[name].parameters
        }

    def _seen(self, name: str) -> list[_Seen]:
        """Return what some of an optimiser's gradients are, without holding on to them."""
        gradients = [each.grad for each in self._sampled(name)]
        return [None if g is None else (weakref.ref(g), g._version) for g in gradients]  # noqa: SLF001  # public in all but name

    def _is_still(self, name: str, then: list[_Seen]) -> bool:
        """Say whether these gradients are what they were."""
        now = self._seen(name)
        return all(_is_same(a, b) for a, b in zip(then, now, strict=True))

    def _sampled(self, name: str) -> list[torch.Tensor]:
        """Return the optimiser's smallest parameter, whose gradient may be held on to, its first and last."""
        if name not in self._samples:
            every = list(self._parts[name].parameters.values())
            self._samples[name] = [min(every, key=lambda each: each.numel()), every[0], every[-1]]
        return self._samples[name]


def _is_same(then: _Seen, now: _Seen) -> bool:
    if then is None or now is None:
        return then is now
    return then[0]() is now[0]() and then[1] == now[1]
