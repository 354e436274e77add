"""The losses of the first step after a resume without a probe, against those before the save.

The oldest rule of resuming: a loss that is more than half again as high means that something was
lost. Losses of small batches differ by as much from step to step, so the run's own noise counts too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbroken.watch.curve import FEWEST_STEPS, SIGMAS, TREND_STEPS, share
from unbroken.watch.trend import fit
from unbroken.watch.watch import Remark, number_of

LARGE = 50.0
"""Per cent above what was expected that are large; less is never called so."""
TIMES = 4.0
"""How many times the largest distance that a single step had before; it is one step that judges."""
FEWEST = 10
"""Steps before, of which something can be expected at all."""
SPIKE_STEPS = 20
"""Steps after the resume in which a spike that the watch finds counts as one at the resume."""


class FirstLosses:
    """Judges the first steps after a resume that no probe has judged before.

    Args:
        before: Journal lines of the steps before, in order.
    """

    def __init__(self, before: Sequence[Mapping[str, Any]]) -> None:
        self._before = before
        self._taken = 0

    def take(self, line: Mapping[str, Any], remarks: Sequence[Remark]) -> tuple[str, str] | None:
        """Take a step in; return the critical sentence and its numbers where the loss has leapt.

        Args:
            line: Its journal line.
            remarks: What the watch says of it.
        """
        self._taken += 1
        if self._taken == 1:
            found = large_variance(self._before, line)
            self._before = ()
            if found is not None:
                return str(found), found.told
        if self._taken <= SPIKE_STEPS:
            for each in remarks:
                if each.kind == "loss spike" and each.percent > LARGE:
                    return f"CRITICAL: Large loss variance ({each.percent:.1f}%)", each.sentence
        return None


@dataclass(frozen=True, slots=True)
class LargeVariance:
    """Losses that the run's own noise doesn't explain."""

    differences: Mapping[str, tuple[float, float]]
    """By name of the loss: what it is, and what was expected."""

    def __str__(self) -> str:
        """Say it in the words that are known."""
        shares = [abs(share(was, now)) for now, was in self.differences.values()]
        return f"CRITICAL: Large loss variance ({', '.join(f'{each:.1f}%' for each in shares)})"

    @property
    def told(self) -> str:
        """The numbers, by name."""
        pairs = self.differences.items()
        return ", ".join(f"{name} {now:.4g}, was {was:.4g}" for name, (now, was) in pairs)


def large_variance(
    before: Sequence[Mapping[str, Any]], line: Mapping[str, Any]
) -> LargeVariance | None:
    """Compare a step's losses with those of the steps before it; None where nothing is wrong.

    Args:
        before: Journal lines of the steps before, in order; fewer than ten tell nothing.
        line: The line of the step.
    """
    found, is_large = {}, False
    for name in _losses(line):
        known = [(int(e["step"]), number_of(e.get(name))) for e in before[-TREND_STEPS:]]
        known = [(step, each) for step, each in known if math.isfinite(each)]
        now = number_of(line[name])
        if len(known) < FEWEST or not math.isfinite(now):
            continue
        step = int(line["step"])
        expected, most = _expected_and_most(known, step)
        found[name] = (now, expected)
        is_large |= share(expected, now) > LARGE and now > most
    return LargeVariance(found) if is_large else None


def _expected_and_most(known: Sequence[tuple[int, float]], step: int) -> tuple[float, float]:
    """Return what is expected of a step, and the most that noise would make of it."""
    steps, values = zip(*known, strict=True)
    if len(known) < FEWEST_STEPS:  # too few for a trend and its noise: their whole range counts
        lowest, highest = min(values), max(values)
        return sorted(values)[len(values) // 2], highest + TIMES * (highest - lowest)
    trend = fit(steps, values, (1,))
    expected = trend.expected(step)[1]
    return expected, expected + trend.limit(1, SIGMAS, TIMES)


def _losses(line: Mapping[str, Any]) -> list[str]:
    """Return the names of the losses: those that make up `loss`, else `loss` itself."""
    parts = [name for name in line if "loss" in name and name != "loss"]
    return parts or [name for name in line if name == "loss"]
