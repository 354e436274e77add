"""One curve over the steps after a resume, watched for a sudden rise or fall on both sides."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from unbroken.watch.trend import Trend, fit

SHORTEST = 5
WINDOWS = (SHORTEST, 20, 100)
"""Steps whose median is compared with the trend: the short find leaps, the long small shifts."""
SIGMAS = 7.0
"""Standard deviations of a median that is out of the ordinary."""
TIMES = 3.0
"""How many times the widest median of the same length before; noise with heavy tails needs it."""
TREND_STEPS = 200
"""Steps a trend is fitted to."""
FEWEST_STEPS = 30
"""Steps that a trend needs."""
REFIT_STEPS = 50
"""After the first 100 steps the trend follows the curve, so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A curve that lies where neither its trend nor its noise would put it."""

    step: int
    now: float
    """Median of the last steps."""
    expected: float
    """The nearest value that was expected there."""
    noise: float
    """Standard deviation of a single step."""
    window: int
    """Steps the median is of."""

    @property
    def percent(self) -> float:
        """How far it lies above or below, relative to what was expected."""
        return share(self.expected, self.now)


class Curve:
    """Watches one curve.

    Args:
        steps: (N,) numbers of the steps before the resume, rising.
        values: (N,) the curve there.
        least_share: Shifts below this share of the expected value are no news.
        least: Nor are shifts below this much.
        rates: (N,) the learning rate of these steps; where it rises the curve may fall the faster.
    """

    def __init__(
        self,
        steps: Sequence[int],
        values: Sequence[float],
        *,
        least_share: float = 0.0,
        least: float = 0.0,
        rates: Sequence[float] = (),
    ) -> None:
        self._rates = deque((each for each in rates if math.isfinite(each)), maxlen=TREND_STEPS)
        self._usual_rate = math.nan
        known = [(n, v) for n, v in zip(steps, values, strict=True) if math.isfinite(v)]
        self._points = deque(known, maxlen=TREND_STEPS)
        self._new: deque[float] = deque(maxlen=max(WINDOWS))
        self._distances: deque[float] = deque(maxlen=max(WINDOWS))
        self._least_share = least_share
        self._least = least
        self._taken = 0
        self._learnt = False
        self.start = self._fit()
        """The trend before the resume; None where too few steps tell it."""
        self._trend = self.start

    def _fit(self) -> Trend | None:
        self._usual_rate = median(self._rates) if self._rates else math.nan
        if len(self._points) < FEWEST_STEPS:
            return None
        steps, values = zip(*self._points, strict=True)
        return fit(steps, values, WINDOWS)

    def take(self, step: int, value: float, rate: float = math.nan) -> Shift | None:
        """Take a step in; return the shift that it completes, if any.

        Args:
            step: Its number.
            value: The curve there.
            rate: Its learning rate; not a number where that plays no part.
        """
        if self._learnt:
            self._learnt, self._trend = False, self._fit()
        if self._trend is None or not math.isfinite(value):
            return None
        self._taken += 1
        self._new.append(value)
        pace = max(1.0, rate / self._usual_rate) if self._usual_rate > 0 and rate > 0 else 1.0
        self._distances.append(self._trend.distance(step, value, pace))
        for window in WINDOWS:  # the long ones not at every step: they move slowly
            is_told_by_trend = self._taken <= 100 or window < 100  # one that follows tells leaps
            if is_told_by_trend and self._taken % (window // SHORTEST) == 0:
                found = self._shift(step, window, pace)
                if found is not None:
                    return found
        self._points.append((step, value))
        if math.isfinite(rate):
            self._rates.append(rate)
        if self._taken >= 100 and self._taken % REFIT_STEPS == 0:
            self._trend = self._fit()
            self._new.clear()
            self._distances.clear()
        return None

    def learn(self, step: int, value: float, rate: float = math.nan) -> None:
        """Take a step in that belongs to what came before: the trend follows it, nothing is told.

        Args:
            step: Its number.
            value: The curve there.
            rate: Its learning rate; not a number where that plays no part.
        """
        if math.isfinite(value):
            self._points.append((step, value))
            self._learnt = True
        if math.isfinite(rate):
            self._rates.append(rate)

    def _shift(self, step: int, window: int, pace: float) -> Shift | None:
        assert self._trend is not None
        if len(self._new) < window:
            return None
        distances = list(self._distances)[-window:]
        off = _carried_by_four(distances) if window == SHORTEST else median(distances)
        low, high = self._trend.expected(step - window // 2, pace)
        expected = high if off > 0 else low
        if abs(off) <= max(self._least, self._least_share * abs(expected)):
            return None
        if abs(off) <= self._trend.limit(window, SIGMAS, TIMES):
            return None
        return Shift(
            step=step,
            now=median(list(self._new)[-window:]),
            expected=expected,
            noise=self._trend.noise,
            window=window,
        )


def _carried_by_four(distances: list[float]) -> float:
    """Return the distance that four of five steps have or pass, on one side: outliers come alone."""
    ordered = sorted(distances)
    return ordered[1] if ordered[1] > 0 else min(0.0, ordered[-2])


def share(was: float, now: float) -> float:
    """Return how far `now` lies above or below `was`, in per cent of it."""
    return 100 * (now - was) / abs(was) if was else math.copysign(math.inf, now)


MARKS = (50, 20)
"""Differences in per cent that people look for, the larger one first."""


def mark(percent: float) -> str:
    """Name the mark that a difference passes, of the two that people look for."""
    for each in MARKS:
        if abs(percent) > each:
            return f", beyond the {each} % mark"
    return ""
