"""How the present step is cut into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StepCut:
    """What is known of a step's micro-batches; begun anew with each step."""

    largest: int = 0
    """Samples of the largest; of a resumed step, what it is cut into from now on. 0 if unknown."""
    drew: bool = False
    """Whether one of them drew random numbers; looked at only where a replay asks."""

    def plan(self, samples: int) -> None:
        """Note that the step is cut into micro-batches of so many samples."""
        self.largest = samples

    def micro_batch(self, samples: int) -> None:
        """Note that a micro-batch of so many samples is done."""
        self.largest = max(self.largest, samples)
