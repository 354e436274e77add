"""The noise of a run that does not repeat itself, and how far a repeated step may lie off with it.

Some kernels add in whatever order their threads come, so that the same machine gives other last bits
for the same step. How much that is was measured from two passes of one state; what a step repeated by
another process may differ by is a multiple of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from unbroken.journal.change import Kind
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.bounds import Bound, bound_for

TIMES = 100.0
"""How many times the noise of one pass: it grows over five steps, and one pair of passes may be close
by chance."""
MOST = 5e-4
"""No bound of noise is wider, so that a model whose outputs are 1 % off is found: a test plants that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Relative differences between passes from the same state; zeros where every bit was the same."""

    outputs: float = 0.0
    """Of what the model returned, or of the loss."""
    gradient: float = 0.0
    """Of all gradients."""
    deterministic_repeats: bool = False
    """Whether the same passes agree to the last bit with `torch.use_deterministic_algorithms(True)`."""

    @property
    def is_any(self) -> bool:
        """Whether the run does not repeat itself."""
        return max(self.outputs, self.gradient) > 0

    def bound(self, arithmetic: Arithmetic) -> Bound:
        """Return how far repeated steps may lie off: what other kernels may do, or `TIMES` the noise."""
        kernels = bound_for(arithmetic, {Kind.KERNELS}) or Bound(loss=0.0, gradient=0.0)
        noise = min(MOST, TIMES * max(self.outputs, self.gradient))
        return Bound(loss=max(kernels.loss, noise), gradient=max(kernels.gradient, noise))

    def __str__(self) -> str:
        """Say how much it is, and what would end it where that was tried."""
        told = f"this run does not repeat itself: {max(self.outputs, self.gradient):.1e}"
        if self.deterministic_repeats:
            told += "; torch.use_deterministic_algorithms(True) would"
        return told


REPEATS = Noise()
"""Of a run whose passes agree to the last bit."""
