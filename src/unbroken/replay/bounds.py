"""How far a repeated step may lie from the first time, for each kind of change of environment.

The figures are what `python benchmarks/replay_bounds.py` measured, times a safety factor: ten in
fp32; three in bf16, where one matrix planted 1 % too large moves the gradient's norm only ten times
as far as rounding does. Where nothing was measured there is no bound, and nothing is called
equivalent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from unbroken.journal.change import Kind

DECIDING_STEPS = 5
"""Repeated steps that decide; rounding grows from step to step, so later ones are only shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The largest relative differences that rounding was seen to make, with a safety factor."""

    loss: float
    gradient: float
    """Of the norm of all gradients."""


FP32 = Bound(loss=2e-6, gradient=2e-5)
"""Measured up to 1.7e-7 and 1.2e-6, whatever changed."""

BOUNDS: dict[tuple[str, Kind], Bound] = {
    ("fp32", Kind.THREADS): FP32,
    ("fp32", Kind.KERNELS): FP32,
    ("fp32", Kind.CUT): FP32,
    ("bf16", Kind.THREADS): Bound(loss=1.5e-4, gradient=6e-4),
    ("bf16", Kind.KERNELS): Bound(loss=2.1e-4, gradient=6e-4),
    ("bf16", Kind.CUT): Bound(loss=2.7e-4, gradient=9e-4),
}
"""By precision of the computation and kind of change."""


def bound_for(precision: str, kinds: Iterable[Kind]) -> Bound | None:
    """Return the bound where all these changes act together; None where one was not measured.

    Roundings are independent of one another, so their squares add up.
    """
    found = [BOUNDS.get((precision, kind)) for kind in set(kinds)]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    return Bound(
        loss=math.hypot(*(each.loss for each in known)),
        gradient=math.hypot(*(each.gradient for each in known)),
    )
