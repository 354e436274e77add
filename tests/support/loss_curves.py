"""Losses as healthy trainings write them, with the noise that real ones have, by seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

NOISES = ("normal", "heavy tails", "heavier tails", "skewed", "by length", "wandering")
CURVES = ("power", "exponential", "flat")

Values = np.ndarray[Any, np.dtype[np.float64]]


class LossCurve:
    """A training stopped after `stopped` steps and resumed for 1,000 more.

    Args:
        seed: Of everything: curve, noise, stop.
        noise: One of `NOISES`.
        factor: What every loss after the resume is multiplied by; 1 is a healthy resume.
        amount: Standard deviation of a step's noise, relative; None to draw it from 0.5 to 12 %.
    """

    def __init__(
        self, seed: int, noise: str, *, factor: float = 1.0, amount: float | None = None
    ) -> None:
        random = np.random.default_rng(seed)
        self.stopped = int(random.integers(40, 3000))
        self.steps = self.stopped + 1000
        drawn = float(random.uniform(0.005, 0.12))
        self.amount = drawn if amount is None else amount
        curve = CURVES[int(random.integers(len(CURVES)))]
        self.loss = _trend(random, curve, self.steps) * (
            1 + self.amount * _noise(random, noise, self.steps)
        )
        self.loss[self.stopped :] *= factor
        self.norm = np.exp(0.4 * random.standard_normal(self.steps))
        self.norm *= 1 + 3 * (random.random(self.steps) < 0.02)

    def line(self, i: int) -> dict[str, Any]:
        """Return the journal line of step i + 1."""
        return {
            "step": i + 1,
            "updates": i + 1,
            "loss": float(self.loss[i]),
            "grad_norm": float(self.norm[i]),
            "lr": 1e-4 * (1 - i / self.steps),
        }

    def before(self) -> list[dict[str, Any]]:
        """Return the lines that are known at the resume."""
        return [self.line(i) for i in range(max(0, self.stopped - 1000), self.stopped)]

    def after(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the 1,000 steps after it."""
        return (self.line(i) for i in range(self.stopped, self.steps))


def _trend(random: np.random.Generator, curve: str, steps: int) -> Values:
    at = np.arange(1, steps + 1, dtype=np.float64)
    if curve == "power":
        return 2 + 8 * (at / 20 + 1) ** -0.5
    if curve == "exponential":
        return 1.5 + 5 * np.exp(-at / random.uniform(300, 3000))
    return np.full(steps, random.uniform(0.5, 6.0))


def _noise(random: np.random.Generator, noise: str, steps: int) -> Values:
    if noise == "heavy tails":
        return random.standard_t(3, steps) / 1.7
    if noise == "heavier tails":
        return random.standard_t(2, steps) / 2
    if noise == "skewed":
        return random.lognormal(0, 1, steps) - 1.65
    if noise == "by length":  # each epoch uses the same batches, of other lengths, in another order
        lengths = random.uniform(-3, 3, int(random.integers(10, 120)))
        epochs = [random.permutation(lengths) for _ in range(steps // len(lengths) + 1)]
        return np.concatenate(epochs)[:steps] + random.standard_normal(steps)
    if noise == "wandering":
        own = random.standard_normal(steps)
        for i in range(1, steps):
            own[i] += 0.7 * own[i - 1]
        return own / 1.4
    return random.standard_normal(steps)
