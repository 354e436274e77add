"""A closure that an optimiser calls: what its first evaluation came to, before anything was updated.

LBFGS evaluates a loss several times to make one update, SAM twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from unbroken.errors import RunMisused
from unbroken.run.update import clip_gradients
from unbroken.state.accumulation import PartialSums


class MeasuredClosure:
    """Evaluates the loss of a step, and has its first evaluation looked at.

    Args:
        closure: Zeroes the gradients, goes forward and backward, returns the loss, 0-dim.
        parameters: Those whose gradients are clipped after each evaluation.
        clip_norm: Largest norm of all gradients together; 0 for no clipping.
        sums: What `step.backward` adds to, where the closure calls it.
        look: Called once with the norm, 0-dim, before anything is updated; what it raises ends the step.
    """

    def __init__(
        self,
        closure: Callable[[], torch.Tensor],
        parameters: Mapping[str, torch.Tensor],
        clip_norm: float,
        sums: PartialSums,
        look: Callable[[torch.Tensor], None],
    ) -> None:
        self._closure = closure
        self._parameters = parameters
        self._clip_norm = clip_norm
        self._sums = sums
        self._look = look
        self._first: dict[str, torch.Tensor] | None = None

    def evaluate(self) -> torch.Tensor:
        """Evaluate once more; the step keeps the sums of its first evaluation.

        Raises:
            RunMisused: The closure returned no loss.
        """
        self._sums.clear()
        loss = self._closure()
        given: object = loss  # a caller may return anything
        if not isinstance(given, torch.Tensor):
            raise RunMisused(
                f"The closure returned {given!r}.",
                "The optimiser decides by the loss, and the journal keeps it.",
                "Return the loss, a 0-dim tensor, at the end of the closure.",
            )
        norm = clip_gradients(self._parameters.values(), self._clip_norm)
        if self._first is None:
            if not self._sums.values:
                self._sums.add("loss", loss)
            self._first = dict(self._sums.values)
            self._look(norm)
        self._sums.values = dict(self._first)
        return loss
