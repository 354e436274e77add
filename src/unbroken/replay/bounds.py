"""How far a repeated step may lie from the first time, for each kind of change of environment.

The figures are what `python benchmarks/replay_bounds.py` measured, times a safety factor: ten in
fp32; three in the coarser formats, where one matrix planted 1 % too large moves the gradient's norm
only ten times as far as rounding does. Where nothing was measured there is no bound, and nothing is
called equivalent. What was measured, on what: docs/resuming.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from unbroken.journal.change import Kind
from unbroken.replay.arithmetic import Arithmetic

DECIDING_STEPS = 5
"""Repeated steps that decide; rounding grows from step to step, so later ones are only shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The largest relative differences that rounding was seen to make, with a safety factor."""

    loss: float
    gradient: float
    """Of the norm of all gradients."""

    def beside(self, other: Bound) -> Bound:
        """Return the bound where both act: roundings are independent, so their squares add up."""
        return Bound(
            loss=math.hypot(self.loss, other.loss),
            gradient=math.hypot(self.gradient, other.gradient),
        )

    def __str__(self) -> str:
        """Return both as a verdict names them."""
        return f"{self.loss:.0e} and {self.gradient:.0e}"


def _bounds(**figures: tuple[float, float]) -> dict[Kind, Bound]:
    return {Kind(name): Bound(loss=a, gradient=b) for name, (a, b) in figures.items()}


BOUNDS: dict[Arithmetic, dict[Kind, Bound]] = {
    Arithmetic("fp32", "cpu"): _bounds(
        threads=(2e-6, 2e-5), kernels=(2e-6, 2e-5), cut=(2e-6, 2e-5), device=(2e-6, 8e-5)
    ),
    Arithmetic("bf16", "cpu"): _bounds(
        threads=(1.5e-4, 6e-4), kernels=(2.1e-4, 6e-4), cut=(2.7e-4, 9e-4), device=(3e-4, 7e-4)
    ),
    Arithmetic("fp16", "cpu"): _bounds(
        threads=(4e-5, 9e-5), kernels=(3e-5, 2e-4), cut=(4e-5, 2e-4), device=(3e-5, 4e-4)
    ),
    # Measured on a processor without TF32: it computes in fp32 all the same.
    Arithmetic("tf32", "cpu"): _bounds(threads=(2e-6, 2e-5), kernels=(2e-6, 2e-5), cut=(2e-6, 2e-5)),
    Arithmetic("fp32", "cuda"): _bounds(
        kernels=(5e-6, 4e-5), cut=(5e-6, 2e-5), device=(2e-6, 8e-5), card=(5e-6, 8e-5)
    ),
    Arithmetic("tf32", "cuda"): _bounds(
        kernels=(2e-5, 3e-4), cut=(2e-5, 2e-4), card=(2e-5, 3e-4)
    ),
    Arithmetic("bf16", "cuda"): _bounds(
        kernels=(4e-4, 7e-4), cut=(4e-4, 8e-4), device=(3e-4, 7e-4), card=(4e-4, 7e-4)
    ),
    Arithmetic("fp16", "cuda"): _bounds(
        kernels=(4e-5, 3e-4), cut=(3e-5, 3e-4), device=(3e-5, 4e-4), card=(4e-5, 4e-4)
    ),
}  # fmt: skip
"""By what is computed in now, and kind of change.

No second card was at hand: another one (`card`) is held to the larger of what other kernels and the
processor instead of the card did.
"""


def bound_for(arithmetic: Arithmetic, kinds: Iterable[Kind]) -> Bound | None:
    """Return the bound where all these changes act together; None where one was not measured.

    Roundings are independent of one another, so their squares add up.
    """
    acting = set(kinds)
    if arithmetic.device == "cuda" and Kind.THREADS in acting:
        # They prepare what the card computes with, and move no more of it than other kernels do.
        acting = acting - {Kind.THREADS} | {Kind.KERNELS}
    measured = BOUNDS.get(arithmetic, {})
    known = [measured[kind] for kind in acting if kind in measured]
    if len(known) < len(acting):
        return None
    return Bound(
        loss=math.hypot(*(each.loss for each in known)),
        gradient=math.hypot(*(each.gradient for each in known)),
    )
