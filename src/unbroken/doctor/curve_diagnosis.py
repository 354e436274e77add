"""What TensorBoard's curves tell of the resumes of a run that kept no journal.

A curve knows no samples: it says that something broke and by how much; the cause is inferred from
which curve broke first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from unbroken.doctor.diagnosis import Clue, Diagnosis, Resumption
from unbroken.doctor.event_curves import (
    GRADIENT,
    LOSSES,
    RATE,
    Drawn,
    Report,
    event_files,
    read_drawn,
)
from unbroken.doctor.plateau import plateau
from unbroken.watch.curve import FEWEST_STEPS, MARKS, Curve, mark, share
from unbroken.watch.trend import MAD_TO_SIGMA
from unbroken.watch.watch import LEAST_RATIO_OF_NORM, LEAST_SHARE_OF_LOSS

POINTS_AFTER = 100
"""Points after a resume that are looked at."""
COARSE_PERCENT = 50.0
"""Where too few points tell the noise, only a shift beyond this, to where no point was, is a break."""
COARSE_POINTS = 5
LEAP_OF_RATE = 3.0
"""How far a rate may lie off its own curve, in the largest bends of the curve before."""
LEAST_SHARE_OF_RATE = 0.01
SHARE_OF_NOISE = 0.2
"""Repeated points that lie closer, in the noise of a point, were trained on the same samples."""
SAME = 1e-5
"""Relative difference of repeated points that single precision and other hardware may make."""

Points = dict[int, float]


def diagnose_curves(
    path: Path, report: Report = lambda _done, _total: None, *, earlier_trainer: bool = False
) -> Diagnosis:
    """Return what the event files below a path tell.

    Args:
        path: An event file, a directory of such, or of a run.
        report: Called with bytes read.
        earlier_trainer: Whether checkpoints of the earlier trainer lie beside them.

    Raises:
        SettingsInvalid: TensorBoard is not installed.
    """
    drawn, empty = read_drawn(event_files(path), report)
    found: list[Resumption] = []
    before: dict[str, Points] = {}
    chain: list[Drawn] = []
    for each in drawn:
        gap = _spacing(each)
        if chain and each.first > gap:
            joint = _Joint(before, chain[-1], each, gap, earlier_trainer=earlier_trainer)
            found.append(joint.told())
        else:  # it begins within its first interval: another run
            before, chain = {}, []
        chain.append(each)
        for tag, series in each.series.items():
            known = before.setdefault(tag, {})
            for step in [n for n in known if n >= each.first]:
                del known[step]
            known |= series.points()
    notes = [f"no point in {name}" for name in empty]
    return Diagnosis(
        path=str(path),
        source="curves",
        starts=len(drawn),
        first_step=min((each.first for each in drawn), default=0),
        last_step=drawn[-1].last if drawn else 0,
        resumptions=tuple(found),
        notes=tuple(notes),
    )


def _spacing(drawn: Drawn) -> int:
    """Return the usual number of steps between two points."""
    steps = max((each.steps for each in drawn.series.values()), key=len)
    apart = [b - a for a, b in pairwise(steps) if b > a]
    return round(median(apart)) if apart else steps[0] - 1


class _Joint:
    """The joint between what was drawn before and what one more process drew.

    Args:
        before: Points of the run up to then, by tag.
        last: What was drawn last before.
        now: What follows.
        gap: Steps between two of its points.
        earlier_trainer: See `diagnose_curves`.
    """

    def __init__(
        self,
        before: Mapping[str, Points],
        last: Drawn,
        now: Drawn,
        gap: int,
        *,
        earlier_trainer: bool,
    ) -> None:
        self.before, self.last, self.now, self.gap = before, last, now, gap
        self.earlier_trainer = earlier_trainer
        self.curves: list[str] = []

    def told(self) -> Resumption:
        """Return what happened there."""
        repeated, clues = self._repeated()
        for tag in LOSSES:
            clues += self._of_loss(tag)
        clues = [*self._rate(), *clues, *self._level(GRADIENT, "gradient norm", "gradient norm")]
        clues += self._circumstances()
        return Resumption(
            step=self.now.first - self.gap,
            source="curves",
            time=self.now.began,
            repeated=repeated,
            curves=tuple(self.curves),
            clues=tuple(clues),
        )

    def _sides(self, tag: str) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Return the finite points before the joint and the first after it, by step."""
        known = self.before.get(tag, {})
        was = [(n, known[n]) for n in sorted(known) if n < self.now.first]
        series = self.now.series.get(tag)
        now = sorted(series.points().items())[:POINTS_AFTER] if series else []
        return (
            [each for each in was if math.isfinite(each[1])],
            [each for each in now if math.isfinite(each[1])],
        )

    def _repeated(self) -> tuple[str, list[Clue]]:
        """Compare the points that were drawn twice."""
        told, clues = [], []
        for tag in (RATE, *LOSSES, GRADIENT):
            known = self.before.get(tag, {})
            series = self.now.series.get(tag)
            both = [
                (n, known[n], value)
                for n, value in (sorted(series.points().items()) if series else ())
                if n in known and math.isfinite(known[n]) and math.isfinite(value)
            ]
            off = [each for each in both if abs(each[2] - each[1]) > SAME * abs(each[1])]
            if both:
                told.append(f"{tag} {len(both) - len(off)}/{len(both)} points equal")
            if off:
                noise, is_ours = _noise(list(known.values())), GRADIENT in self.now.series
                clues.append(_differing(tag, both, off, noise, draws_exactly=is_ours))
        return ", ".join(told), clues

    def _level(self, tag: str, above: str, below: str) -> list[Clue]:
        """Compare the level of a curve after the joint with its trend before."""
        was, now = self._sides(tag)
        values = self.now.series[tag].values if tag in self.now.series else ()
        bad = sum(not math.isfinite(each) for each in values)
        clues = []
        if bad and tag in LOSSES:
            told = f"{tag} is not finite at {bad} points"
            clues.append(Clue(kind="not finite", sentence=told, is_break=True))
        if len(was) < FEWEST_STEPS or not now:
            return clues + self._coarse(tag, was, now, above if tag in LOSSES else "")
        is_norm = tag == GRADIENT
        curve = Curve(
            [n for n, _ in was],
            [_scaled(value, is_log=is_norm) for _, value in was],
            least_share=0.0 if is_norm else LEAST_SHARE_OF_LOSS,
            least=math.log(LEAST_RATIO_OF_NORM) if is_norm else 0.0,
        )
        for step, value in now:
            shift = curve.take(step, _scaled(value, is_log=is_norm))
            if shift is not None:
                level, expected = shift.now, shift.expected
                if is_norm:
                    level, expected = math.exp(level), math.exp(expected)
                percent = share(expected, level)
                told = (
                    f"{tag} {level:.4g} over {shift.window} points up to step {step:,}, expected "
                    f"{expected:.4g} from the trend ({percent:+.1f} %{mark(percent)})"
                )
                kind = above if percent > 0 else below
                self.curves.append(told)
                is_large = abs(percent) > MARKS[-1]
                return [*clues, Clue(kind=kind, sentence=told, is_break=True, is_large=is_large)]
        self.curves.append(_compared(tag, was, now, "within the noise of its trend"))
        return clues

    def _coarse(
        self,
        tag: str,
        was: Sequence[tuple[int, float]],
        now: Sequence[tuple[int, float]],
        kind: str,
    ) -> list[Clue]:
        """Compare medians where too few points tell the noise."""
        if len(was) < 2 or len(now) < 2:
            return []
        few = f"only {len(was)} points before, {FEWEST_STEPS} tell the noise"
        told = _compared(tag, was, now, few)
        self.curves.append(told)
        percent = _percent(was, now)
        known = [value for _, value in was]
        is_outside = not min(known) <= _beginning(now) <= max(known)
        if not (kind and is_outside and abs(percent) > COARSE_PERCENT):
            return []
        name = kind if percent > 0 else "suspicious drop"
        is_large = abs(percent) > MARKS[-1]
        return [Clue(kind=name, sentence=told, is_break=True, is_large=is_large)]

    def _rate(self) -> list[Clue]:
        """Compare the learning rate with where its own curve was going."""
        was, now = self._sides(RATE)
        if len(was) < 3 or not now:
            return []
        (n0, v0), (n1, v1) = was[-2:]
        step, value = now[0]
        slope = (v1 - v0) / (n1 - n0)
        expected = v1 + slope * (step - n1)
        recent = was[-50:]
        bends = [
            abs(c[1] - b[1] - (b[1] - a[1]) / (b[0] - a[0]) * (c[0] - b[0]))
            for a, b, c in zip(recent, recent[1:], recent[2:], strict=False)
        ]
        scale = max(1.0, (step - n1) / (n1 - n0)) ** 2
        allowed = LEAP_OF_RATE * scale * max(bends) + LEAST_SHARE_OF_RATE * abs(v1)
        off = value - expected
        percent = share(expected, value) if expected > 0 else share(v1, value)
        told = f"learning rate {value:.6g} at step {step:,}, its curve leads to {expected:.6g}"
        told += f" ({percent:+.1f} %{mark(percent)})"
        self.curves.append(told)
        if abs(off) <= allowed:
            return []
        return [Clue(kind="learning rate", sentence=told, is_break=True)]

    def _of_loss(self, tag: str) -> list[Clue]:
        """Look at a loss: one that stays where it was, while it should have fallen, is no spike."""
        found = self._level(tag, "loss spike", "suspicious drop")
        series = self.now.series.get(tag)
        flat = plateau(tag, self._sides(tag)[0], sorted(series.points().items()) if series else [])
        if flat is None:
            return found
        small = [
            replace(e, kind="", is_break=False) if e.kind == "loss spike" else e for e in found
        ]
        is_large = any(e.kind == "loss spike" and e.is_large for e in found)
        return [*(found if is_large else small), flat]

    def _circumstances(self) -> list[Clue]:
        found = [
            Clue(
                kind="",
                sentence=f"it continued between the steps {self.now.first - self.gap:,} and "
                f"{self.now.first - 1:,}; its first point is that of step {self.now.first:,}",
            )
        ]
        gap = self.now.began - self.last.ended
        if gap > 3600:
            told = f"{gap / 3600:.1f} hours after the last point before"
            found.append(Clue(kind="", sentence=told))
        if self.earlier_trainer:
            found.append(
                Clue(
                    kind="",
                    sentence="the earlier trainer takes the rest of an epoch in the manifest's "
                    "order after a resume: some samples come twice, others never",
                )
            )
        return found


def _differing(
    tag: str,
    both: Sequence[tuple[int, float, float]],
    off: Sequence[tuple[int, float, float]],
    noise: float,
    *,
    draws_exactly: bool,
) -> Clue:
    """Return what it means that points drawn twice differ.

    Args:
        tag: Of the curve.
        both: Step, value before and value after of what was drawn twice.
        off: Those of it that differ.
        noise: Of one point of this curve.
        draws_exactly: Whether a trainer drew them that repeats steps exactly: this one, which draws
            the gradient norm. The earlier one repeats no step on the same samples.
    """
    step, was, now = off[0]
    distance = median(abs(b - a) for _, a, b in both)
    told = (
        f"{tag} differs at {len(off)} of {len(both)} repeated points: at step {step:,} {now:.6g}, "
        f"was {was:.6g} ({share(was, now):+.3g} %)"
    )
    if tag == RATE:
        return Clue(kind="learning rate", sentence=told, is_break=True)
    if distance <= SHARE_OF_NOISE * noise:
        return Clue(
            kind="", sentence=f"{told}; this may be rounding: it is far less than the noise"
        )
    return Clue(kind="other samples", sentence=told, is_break=draws_exactly and tag in LOSSES)


def _noise(values: Sequence[float]) -> float:
    """Return the standard deviation of a point, robustly, from how far neighbours lie apart."""
    finite = [each for each in values if math.isfinite(each)]
    apart = [abs(b - a) for a, b in pairwise(finite)]
    return MAD_TO_SIGMA * median(apart) / math.sqrt(2) if apart else 0.0


def _compared(
    tag: str, was: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]], end: str
) -> str:
    percent = _percent(was, now)
    a, b = _end(was), _beginning(now)
    return f"{tag} {b:.4g}, was {a:.4g} ({percent:+.1f} %{mark(percent)}); {end}"


def _percent(was: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]]) -> float:
    return share(_end(was), _beginning(now))


def _end(points: Sequence[tuple[int, float]]) -> float:
    return median(value for _, value in points[-COARSE_POINTS:])


def _beginning(points: Sequence[tuple[int, float]]) -> float:
    return median(value for _, value in points[:COARSE_POINTS])


def _scaled(value: float, *, is_log: bool) -> float:
    if not is_log:
        return value
    return math.log(value) if value > 0 else math.nan
