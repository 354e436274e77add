"""How far a repeated step may lie from the first time, for each kind of change of environment.

The figures are what `python benchmarks/replay_bounds.py` measured, times a safety factor. Where
nothing was measured there is no bound, and nothing is called equivalent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unbroken.proof.change import Kind

DECIDING_STEPS = 5
"""Repeated steps that decide; rounding grows from step to step, so later ones are only shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The largest relative differences that rounding was seen to make, with a safety factor."""

    loss: float
    gradient: float
    """Of the norm of all gradients."""

    def __add__(self, other: Bound) -> Bound:
        """Return the bound where both changes act."""
        return Bound(loss=self.loss + other.loss, gradient=self.gradient + other.gradient)


BOUNDS: dict[tuple[str, Kind], Bound] = {
    ("fp32", Kind.THREADS): Bound(loss=2e-6, gradient=1e-5),
    ("fp32", Kind.KERNELS): Bound(loss=2e-6, gradient=1e-5),
    ("fp32", Kind.CUT): Bound(loss=2e-6, gradient=1e-5),
}
"""By precision of the computation and kind of change."""


def bound_for(precision: str, kinds: Iterable[Kind]) -> Bound | None:
    """Return the bound where all these changes act together; None where one was not measured."""
    total = Bound(loss=0.0, gradient=0.0)
    for kind in set(kinds):
        found = BOUNDS.get((precision, kind))
        if found is None:
            return None
        total += found
    return total
