"""Watch: the first 1,000 steps after a resume, compared with the trend before the stop.

Reports at 100 and at 1,000 steps, and at once when something is wrong; each kind of trouble once.
Pure: it is fed with journal lines.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from unbroken.state.fingerprint import MODES
from unbroken.watch.curve import Curve, Shift, mark, share
from unbroken.watch.foreseen_rates import ForeseenRates

WATCHED = ("loss", "grad_norm", "lr", "grad_scale")
"""Numbers of a journal line that are watched."""
WATCHED_STEPS = 1000
REPORTS = (100, 1000)
"""Steps after which the watch reports in any case."""
LEAST_SHARE_OF_LOSS = 0.03
"""Smaller shifts of the loss are no news, however quiet the run is."""
LEAST_RATIO_OF_NORM = 2.0
"""Smaller changes of the gradient norm aren't either; it is watched by its logarithm."""
SLOWER_TIMES = 1.5
"""A step that takes so many times as long as before is news."""
MANY_SKIPS = 5
"""Updates left out of the last 20 that are news, unless it was so before."""
LEAP_OF_RATE = 3.0
"""How many times the largest recent change of the learning rate its next one may be."""
LEAP_STEPS = 20
"""Steps after the resume in which a leap of the learning rate or the loss scale counts as one at it."""
LEAP_OF_SCALE = 4.0
"""How many times the loss scale of the step before the next one may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something the watch has to say."""

    kind: str
    """`loss spike`, `suspicious drop`, `learning rate`, `gradient norm`, `loss scale`, `evaluation mode`,
    `speed`, `skipped updates`, `plateau`, `idle rate`, `not finite`, `out of memory`, or `report`."""
    step: int
    sentence: str
    is_alarm: bool
    percent: float = 0.0
    """How far a loss lies above or below what was expected."""


class Watch:
    """Watches a run after a resume.

    Args:
        before: Journal lines of the steps before, in order; a few hundred tell a trend.
        seconds_per_step: How long a step took before; None where that isn't known.
        rates: The learning rates to come; None where nothing foresees them.
    """

    def __init__(
        self,
        before: Sequence[Mapping[str, Any]],
        seconds_per_step: float | None = None,
        rates: ForeseenRates | None = None,
    ) -> None:
        self._before = [_numbers(line) for line in before]
        steps = [int(line["step"]) for line in before]
        losses = [line["loss"] for line in self._before]
        self._loss = Curve(
            steps,
            losses,
            least_share=LEAST_SHARE_OF_LOSS,
            rates=[line["lr"] for line in self._before],
        )
        norms = [_logarithm(line["grad_norm"]) for line in self._before]
        self._gradient = Curve(steps, norms, least=math.log(LEAST_RATIO_OF_NORM))
        self._seconds_before = seconds_per_step
        self._rates = rates or ForeseenRates()
        self._seconds: list[float] = []
        self._losses: list[float] = []
        self._skips: deque[bool] = deque(maxlen=20)
        self._skips_before = sum(bool(line.get("skipped")) for line in before) / max(1, len(before))
        self._said: set[str] = set()
        self._taken = 0
        self._in_eval: int | None = before[-1].get(MODES) if before else None
        self._last_scale = self._before[-1]["grad_scale"] if before else math.nan
        self._last_rate: float | None = self._before[-1]["lr"] if self._before else None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be said."""
        return self._taken >= WATCHED_STEPS

    def take(
        self,
        line: Mapping[str, Any],
        seconds: float | None = None,
        rates: Mapping[str, float] | None = None,
        *,
        is_repeated: bool = False,
    ) -> list[Remark]:
        """Take a completed step in; return what there is to say.

        Args:
            line: Its journal line.
            seconds: How long it took; None where that isn't known.
            rates: Learning rates it was made with, by group; None where a loop tells only its first.
            is_repeated: Whether it came out as it had before the stop, to the last bit: then its loss
                and its gradient tell of the run, not of the resume.
        """
        if self.is_over:
            return []
        self._taken += 1
        step, now = int(line["step"]), _numbers(line)
        if "given_up" in line:
            return self._of_step_given_up(step, line)
        has_loss = "loss" in line
        if has_loss:
            self._losses.append(now["loss"])
        if seconds is not None:
            self._seconds.append(seconds)
        found = [
            *self._of_curves(step, now, has_loss=has_loss, is_repeated=is_repeated),
            self._of_rate(step, line, now["lr"], rates or {}, is_repeated=is_repeated),
            self._of_scale(step, now["grad_scale"]),
            self._of_modes(step, line.get(MODES)),
            self._of_skips(step, is_skipped=bool(line.get("skipped"))),
        ]
        return self._with_report(step, found)

    def _of_step_given_up(self, step: int, line: Mapping[str, Any]) -> list[Remark]:
        """Take in a step that has neither loss nor gradient: it counts as an update left out."""
        self._last_rate = _numbers(line)["lr"]
        return self._with_report(step, [self._of_skips(step, is_skipped=True)])

    def _with_report(self, step: int, found: Sequence[Remark | None]) -> list[Remark]:
        """Return what is new of what was found, and a report that counts it where one is due."""
        if self._taken in REPORTS:
            found = [*found, self._of_speed(step), self._of_plateau(step)]
        news = [each for each in found if each is not None and self._is_news(each)]
        return news + ([self._report(step)] if self._taken in REPORTS else [])

    def _is_news(self, remark: Remark) -> bool:
        is_news = remark.kind not in self._said
        self._said.add(remark.kind)
        return is_news

    def _of_curves(
        self, step: int, now: Mapping[str, float], *, has_loss: bool, is_repeated: bool
    ) -> list[Remark | None]:
        if is_repeated:
            self._loss.learn(step, now["loss"], now["lr"])
            self._gradient.learn(step, _logarithm(now["grad_norm"]))
            return []
        return [
            self._of_loss(step, now["loss"], now["lr"]) if has_loss else None,
            self._of_gradient(step, now["grad_norm"]),
        ]

    def _of_loss(self, step: int, loss: float, rate: float) -> Remark | None:
        if math.isnan(loss) or math.isinf(loss):
            return _alarm("not finite", step, f"the loss is {loss}")
        shift = self._loss.take(step, loss, rate)
        if shift is None:
            return None
        if shift.percent > 0:
            return replace(_alarm("loss spike", step, _told("loss", shift)), percent=shift.percent)
        hint = "; repeated samples or a changed loss look like this"
        return _alarm("suspicious drop", step, _told("loss", shift) + hint)

    def _of_gradient(self, step: int, norm: float) -> Remark | None:
        shift = self._gradient.take(step, _logarithm(norm))
        if shift is None:
            return None
        now, expected = math.exp(shift.now), math.exp(shift.expected)
        told = f"{now:.4g} over {shift.window} steps, expected {expected:.4g} from the trend"
        return _alarm("gradient norm", step, f"{told} ({share(expected, now):+.0f} %)")

    def _of_rate(
        self,
        step: int,
        line: Mapping[str, Any],
        rate: float,
        rates: Mapping[str, float],
        *,
        is_repeated: bool,
    ) -> Remark | None:
        """Compare with the rates foreseen for the update, else with the steps just before."""
        last, self._last_rate = self._last_rate, rate
        update = line.get("updates", 0) - (not (line.get("skipped") or line.get("gathers")))
        off = self._rates.departures(update, rates, rate)
        if off:
            more = f", and {len(off) - 1} groups more" if off[1:] else ""
            return _alarm("learning rate", step, f"off its curve: {off[0]}{more}")
        is_known = is_repeated or self._rates.knows(update, rates) or rate == self._rates.held
        if is_known or self._taken > LEAP_STEPS or len(self._before) < 3:
            return None
        if last is None or not math.isfinite(last + rate):
            return None
        # Scores or the loop may move it at any step, and the end of a phase may lower it.
        may_move = self._rates.depends_on_scores or self._rates.are_moved_by_loop
        if self._taken > 1 and (rate < last or may_move):
            return None
        recent = [line["lr"] for line in self._before[-50:] if math.isfinite(line["lr"])]
        largest = max((abs(b - a) for a, b in pairwise(recent)), default=0.0)
        if abs(rate - last) <= LEAP_OF_RATE * largest + 0.01 * abs(last):
            return None
        told = f"leapt from {last:.6g} to {rate:.6g} ({share(last, rate):+.1f} %) "
        told += "at the resume" if self._taken == 1 else f"{self._taken} steps after the resume"
        return _alarm("learning rate", step, told)

    def _of_scale(self, step: int, scale: float) -> Remark | None:
        """Tell a loss scale that leaps: a scaler doubles or halves it, and begins with another."""
        last, self._last_scale = self._last_scale, scale
        if self._taken > LEAP_STEPS or not (last > 0 and scale > 0):
            return None
        if 1 / LEAP_OF_SCALE <= scale / last <= LEAP_OF_SCALE:
            return None
        return _alarm("loss scale", step, f"{scale:.6g}, was {last:.6g} at the step before")

    def _of_modes(self, step: int, count: int | None) -> Remark | None:
        """Tell modules that came into evaluation mode; what goes back to training is no trouble."""
        before, self._in_eval = self._in_eval, count
        if count is None or before is None or count <= before:
            return None
        told = (
            f"{count} of the modules looked at (the model, dropouts, batch norms) train in evaluation "
            f"mode, {before} did before; a validation may have left them so"
        )
        return _alarm("evaluation mode", step, told)

    def _of_skips(self, step: int, *, is_skipped: bool) -> Remark | None:
        self._skips.append(is_skipped)
        count = sum(self._skips)
        if count < max(MANY_SKIPS, 3 * self._skips_before * len(self._skips)):
            return None
        told = f"{count} of the last {len(self._skips)} updates were left out"
        return _alarm("skipped updates", step, told)

    def _of_speed(self, step: int) -> Remark | None:
        if not self._seconds or not self._seconds_before:
            return None
        now = median(self._seconds)
        if now <= SLOWER_TIMES * self._seconds_before:
            return None
        told = f"a step takes {now:.3g} s, took {self._seconds_before:.3g} s"
        return _alarm("speed", step, told)

    def _of_plateau(self, step: int) -> Remark | None:
        """Compare the fall over the watched steps with that over as many before."""
        before = [line["loss"] for line in self._before[-WATCHED_STEPS:]]
        if not self._losses:
            return None
        trend = self._loss.start
        if self._taken < WATCHED_STEPS or len(before) < WATCHED_STEPS or trend is None:
            return None
        if "loss spike" in self._said:
            return None  # reported by its name
        first, middle, last = (
            median(x) for x in (before[:100], before[-100:], self._losses[-100:])
        )
        fell, falls = first - middle, middle - last
        noise = trend.noise * (math.pi / 200) ** 0.5  # of a median of 100
        if fell < max(8 * noise, 0.05 * abs(middle)) or falls > 0.1 * fell:
            return None
        told = f"the loss fell by {fell:.4g} in 1,000 steps before and by {falls:.4g} since"
        return Remark(kind="plateau", step=step, sentence=f"plateau: {told}", is_alarm=False)

    def _report(self, step: int) -> Remark:
        trouble = sorted(self._said)
        parts = [self._loss_told(), *self._speed_told()]
        end = f"reported: {', '.join(trouble)}" if trouble else "nothing unusual"
        told = f"{self._taken:,} steps after the resume: {'; '.join(parts)}; {end}"
        return Remark(kind="report", step=step, sentence=told, is_alarm=False)

    def _loss_told(self) -> str:
        trend = self._loss.start
        if not self._losses:
            return "no loss was told"
        now = median(self._losses[-25:])
        if trend is None:
            return f"loss {now:.4g}, with too few steps before to compare"
        percent = share(trend.level, now)
        noise = abs(share(trend.level, trend.level + trend.noise))
        return (
            f"loss {now:.4g}, was {trend.level:.4g} ({percent:+.1f} %{mark(percent)}; noise of a "
            f"step {noise:.1f} %)"
        )

    def _speed_told(self) -> list[str]:
        if not self._seconds:
            return []
        was = "" if self._seconds_before is None else f", was {self._seconds_before:.3g} s"
        return [f"{median(self._seconds):.3g} s a step{was}"]


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Return what is watched of a line; what is missing is no number."""
    return {name: number_of(line.get(name)) for name in WATCHED}


def number_of(value: Any) -> float:
    """Return a journalled value as a number; NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):  # missing, or damaged
        return math.nan


def _logarithm(norm: float) -> float:
    return math.log(norm) if norm > 0 else math.nan


def _alarm(kind: str, step: int, told: str) -> Remark:
    return Remark(kind=kind, step=step, sentence=f"{kind} at step {step:,}: {told}", is_alarm=True)


def _told(name: str, shift: Shift) -> str:
    noise = abs(share(shift.expected, shift.expected + shift.noise))
    return (
        f"{name} {shift.now:.4g} over {shift.window} steps, expected {shift.expected:.4g} from the "
        f"trend ({shift.percent:+.1f} %{mark(shift.percent)}; noise of a step {noise:.1f} %)"
    )
