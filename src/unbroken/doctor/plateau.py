"""Recognises a curve that stopped falling at a resume; alone that is not a break."""

from __future__ import annotations

from collections.abc import Sequence

from unbroken.doctor.diagnosis import Clue
from unbroken.watch.trend import fit

POINTS = 60
"""Number of points needed on each side."""
FALLS_NO_MORE = 0.1
"""Share of the expected fall below which a curve counts as no longer falling."""
SIGMAS = 8.0
"""Smallest expected fall, in standard deviations of a point."""

Side = Sequence[tuple[int, float]]


def plateau(tag: str, before: Side, after: Side) -> Clue | None:
    """Compare the fall after a resume with the one before; None if there are too few points.

    Args:
        tag: Name of the curve.
        before: Steps and values before, in order.
        after: Those after it.
    """
    was, now = before[-POINTS:], after[:POINTS]
    if min(len(was), len(now)) < POINTS:
        return None
    span = now[-1][0] - now[0][0]
    trend = fit([step for step, _ in was], [value for _, value in was], ())
    since = fit([step for step, _ in now], [value for _, value in now], ())
    expected, fell = -trend.slope * span, -since.slope * span
    if expected <= SIGMAS * trend.noise or abs(fell) >= FALLS_NO_MORE * expected:
        return None
    sentence = (
        f"{tag} fell by {fell:.3g} over the {POINTS} points after it, its trend before leads to "
        f"{expected:.3g}: a plateau, or the floor"
    )
    return Clue(kind="plateau", sentence=sentence)
