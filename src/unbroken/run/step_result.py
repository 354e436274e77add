"""What a completed step came to, and the line that the journal has of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unbroken.journal.line import CONTENT, DIRECTION, GATHERS, GIVEN_UP, RATES, SCALE, SKETCH
from unbroken.order.step_batches import sample_digest
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a completed step came to."""

    step: int
    """Steps completed, this one included."""
    losses: Mapping[str, float]
    """`loss` and the named sums given to `backward`, over the whole step batch."""
    grad_norm: float = math.nan
    """Norm of all gradients before clipping."""
    gradient_sketch: float = math.nan
    """Norm of some entries of the gradients, where a loop makes its own updates."""
    gradient_direction: float = math.nan
    """Sum of these entries, divided by their norm: a common factor, as of clipping, leaves it as it is."""
    rate: float = math.nan
    """Learning rate of the first group, as it was applied."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of all groups, by name, as they were applied."""
    loss_scale: float | None = None
    """What the loss was scaled with; None without a scaler."""
    skipped: bool = False
    """Whether the update was left out, by the loss scaler or because something was not finite."""
    gathers: bool = False
    """Whether the loop made no update: it gathers gradients over several steps."""
    given_up: str = ""
    """Why the loop gave the step up; empty where it didn't."""
    content: str = ""
    """Digest of what the batch held; empty where that isn't known."""
    fingerprint: Mapping[str, float] = field(default_factory=dict)
    """What tells whether weights, buffers, averages and modes were what they were; see `state/fingerprint`."""

    def line(self, position: Position, epoch: int, ids: Sequence[str]) -> dict[str, Any]:
        """Return the step's line in the journal.

        Args:
            position: Where the run stands after it.
            epoch: The epoch it belongs to.
            ids: Names of its samples, in order.
        """
        line: dict[str, Any] = {
            "step": position.step,
            "updates": position.updates,
            "epoch": epoch,
            "samples": len(ids),
            "sample_digest": sample_digest(ids),
            **self.losses,
            "lr": self.rate,
            "grad_norm": self.grad_norm,
            **self.fingerprint,
        }
        if len(self.rates) > 1:
            line[RATES] = dict(self.rates)
        if self.loss_scale is not None:
            line[SCALE] = self.loss_scale
        line |= {"skipped": True} if self.skipped else {}
        line |= {GATHERS: True} if self.gathers else {}
        line |= {CONTENT: self.content} if self.content else {}
        if not math.isnan(self.gradient_sketch):
            line[SKETCH] = self.gradient_sketch
        if not math.isnan(self.gradient_direction):
            line[DIRECTION] = self.gradient_direction
        return line | ({GIVEN_UP: self.given_up} if self.given_up else {})
