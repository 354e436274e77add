"""The trend of a noisy curve and its noise, robustly: medians, so that outliers don't count.

Slope: Theil-Sen, the median of the slopes of pairs (Sen 1968, doi:10.1080/01621459.1968.10480934).
Noise: 1.4826 times the median absolute deviation, which is the standard deviation of a normal one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAD_TO_SIGMA = 1.4826
LEVEL_STEPS = 50
"""Steps at the end of the curve that tell its level."""

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Trend:
    """Where a curve is expected to go on: between staying at its level and keeping its slope."""

    step: int
    """The last step it was fitted to."""
    level: float
    """The curve there."""
    slope: float
    """Change per step."""
    noise: float
    """Standard deviation of a single step, from the median absolute deviation."""
    is_positive: bool
    """Whether no value was below zero, so that none is expected there."""
    widest: dict[int, float]
    """By window length, the largest |median of residuals| that the curve itself had."""

    def expected(self, step: int, pace: float = 1.0) -> tuple[float, float]:
        """Return the lowest and highest value expected at a step without noise.

        Args:
            step: Its number.
            pace: How many times as fast as before the curve may go on.
        """
        ahead = self.level + pace * self.slope * (step - self.step)
        if self.is_positive:
            ahead = max(0.0, ahead)
        return min(ahead, self.level), max(ahead, self.level)

    def distance(self, step: int, value: float, pace: float = 1.0) -> float:
        """Return how far a value lies above (+) or below (-) what is expected."""
        low, high = self.expected(step, pace)
        return value - high if value > high else min(0.0, value - low)

    def limit(self, window: int, sigmas: float, times: float) -> float:
        """Return how far the median of so many steps may lie off.

        Args:
            window: Steps.
            sigmas: How many standard deviations of a median of independent normal noise.
            times: How many times the largest that the curve itself had before.
        """
        # The median of n normal values has the standard deviation sqrt(pi / 2n); the level is one.
        error = (np.pi / 2 * (1 / window + 1 / LEVEL_STEPS)) ** 0.5
        of_noise = sigmas * self.noise * error
        return max(float(of_noise), times * self.widest.get(window, 0.0))


def fit(steps: Sequence[int], values: Sequence[float], windows: Sequence[int]) -> Trend:
    """Fit a local linear trend.

    Args:
        steps: (N,) numbers of steps, rising.
        values: (N,) the curve there, finite; N at least 2.
        windows: Lengths to learn the widest medians for.
    """
    x = np.asarray(steps, dtype=np.float64) - steps[-1]
    y = np.asarray(values, dtype=np.float64)
    a, b = np.triu_indices(len(x), k=max(1, len(x) // 3))  # near pairs are mostly noise
    slope = float(np.median((y[b] - y[a]) / (x[b] - x[a])))
    residuals = y - slope * x
    # Of a curve that bends, the slope leads past where it has ever been.
    level = float(np.clip(np.median(residuals[-LEVEL_STEPS:]), y.min(), y.max()))
    # Residuals of a curve that bends: about the median of their own part of it.
    residuals -= float(np.median(residuals))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(residuals)))
    return Trend(
        step=int(steps[-1]),
        level=level,
        slope=slope,
        noise=noise,
        is_positive=bool((y >= 0).all()),
        widest={n: _widest_median(residuals, n) for n in windows if n <= len(residuals) // 2},
    )


def _widest_median(residuals: Values, window: int) -> float:
    sliding = np.lib.stride_tricks.sliding_window_view(residuals, window)
    return float(np.abs(np.median(sliding, axis=1)).max())
