"""Diagnoses the resumes of a run without a journal, from its TensorBoard curves.

Curves don't record samples. They show that something broke, and by how much; the cause is inferred
from which curve broke first.
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
"""Number of points after a resume to compare."""
COARSE_PERCENT = 50.0
"""With too few points to know the noise, only a larger shift, beyond all earlier points, is a break."""
COARSE_POINTS = 5
LEAP_OF_RATE = 3.0
"""How far a rate may be off its curve, relative to the largest bend of the curve before."""
LEAST_SHARE_OF_RATE = 0.01
SHARE_OF_NOISE = 0.2
"""Repeated points that are closer than this, in units of the noise, had the same samples."""
SAME = 1e-5
"""Relative difference of repeated points that rounding and other hardware may cause."""

Points = dict[int, float]


def diagnose_curves(
    path: Path, report: Report = lambda _done, _total: None, *, earlier_trainer: bool = False
) -> Diagnosis:
    """Return the diagnosis of the event files below a path.

    Args:
        path: An event file, a directory of event files, or of a run.
        report: Called with bytes read.
        earlier_trainer: Whether there are checkpoints of the earlier trainer beside them.

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
            found.append(joint.resumption())
        else:  # it starts within the first interval, so it is another run
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
    """The transition between the earlier points and those of one more process.

    Args:
        before: Points of the run so far, by tag.
        last: The points of the last process before.
        now: The points of the next process.
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

    def resumption(self) -> Resumption:
        """Return the diagnosis of this resume."""
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
        """Compare the points that exist twice."""
        lines, clues = [], []
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
                lines.append(f"{tag} {len(both) - len(off)}/{len(both)} points equal")
            if off:
                noise, is_ours = _noise(list(known.values())), GRADIENT in self.now.series
                clues.append(_differing(tag, both, off, noise, draws_exactly=is_ours))
        return ", ".join(lines), clues

    def _level(self, tag: str, above: str, below: str) -> list[Clue]:
        """Compare the level of a curve after the joint with its trend before."""
        was, now = self._sides(tag)
        values = self.now.series[tag].values if tag in self.now.series else ()
        bad = sum(not math.isfinite(each) for each in values)
        clues = []
        if bad and tag in LOSSES:
            sentence = f"{tag} is not finite at {bad} points"
            clues.append(Clue(kind="not finite", sentence=sentence, is_break=True))
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
                sentence = (
                    f"{tag} {level:.4g} over {shift.window} points up to step {step:,}, expected "
                    f"{expected:.4g} by its trend ({percent:+.1f} %{mark(percent)})"
                )
                kind = above if percent > 0 else below
                self.curves.append(sentence)
                is_large = abs(percent) > MARKS[-1]
                return [
                    *clues,
                    Clue(kind=kind, sentence=sentence, is_break=True, is_large=is_large),
                ]
        self.curves.append(_compared(tag, was, now, "within the noise of its trend"))
        return clues

    def _coarse(
        self,
        tag: str,
        was: Sequence[tuple[int, float]],
        now: Sequence[tuple[int, float]],
        kind: str,
    ) -> list[Clue]:
        """Compare medians if there are too few points to know the noise."""
        if len(was) < 2 or len(now) < 2:
            return []
        few = f"only {len(was)} points before, {FEWEST_STEPS} are needed to know the noise"
        sentence = _compared(tag, was, now, few)
        self.curves.append(sentence)
        percent = _percent(was, now)
        known = [value for _, value in was]
        is_outside = not min(known) <= _beginning(now) <= max(known)
        if not (kind and is_outside and abs(percent) > COARSE_PERCENT):
            return []
        name = kind if percent > 0 else "suspicious drop"
        is_large = abs(percent) > MARKS[-1]
        return [Clue(kind=name, sentence=sentence, is_break=True, is_large=is_large)]

    def _rate(self) -> list[Clue]:
        """Compare the learning rate with the continuation of its curve."""
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
        sentence = f"learning rate {value:.6g} at step {step:,}, its curve leads to {expected:.6g}"
        sentence += f" ({percent:+.1f} %{mark(percent)})"
        self.curves.append(sentence)
        if abs(off) <= allowed:
            return []
        return [Clue(kind="learning rate", sentence=sentence, is_break=True)]

    def _of_loss(self, tag: str) -> list[Clue]:
        """Compare a loss; if it only stopped falling, that is not a spike."""
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
            sentence = f"{gap / 3600:.1f} hours after the last point before"
            found.append(Clue(kind="", sentence=sentence))
        if self.earlier_trainer:
            found.append(
                Clue(
                    kind="",
                    sentence="the earlier trainer takes the rest of an epoch in the manifest's "
                    "order after a resume: some samples are used twice, others never",
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
    """Return what differing repeated points mean.

    Args:
        tag: Name of the curve.
        both: Step, value before and value after of all repeated points.
        off: Those that differ.
        noise: Standard deviation of one point of this curve.
        draws_exactly: Whether they are by a trainer that repeats steps exactly: this one, which
            draws the gradient norm. The earlier one repeats no step on the same samples.
    """
    step, was, now = off[0]
    distance = median(abs(b - a) for _, a, b in both)
    sentence = (
        f"{tag} differs at {len(off)} of {len(both)} repeated points: at step {step:,} {now:.6g}, "
        f"was {was:.6g} ({share(was, now):+.3g} %)"
    )
    if tag == RATE:
        return Clue(kind="learning rate", sentence=sentence, is_break=True)
    if distance <= SHARE_OF_NOISE * noise:
        return Clue(
            kind="", sentence=f"{sentence}; this may be rounding: it is far less than the noise"
        )
    return Clue(kind="other samples", sentence=sentence, is_break=draws_exactly and tag in LOSSES)


def _noise(values: Sequence[float]) -> float:
    """Return a robust standard deviation of a point, from the differences of neighbours."""
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
    log = math.log(value) if value > 0 else math.nan
    return log if is_log else value
