"""A learning-rate schedule that is a pure function of the updates applied.

The rate of the next update is `base rate * factor(updates completed)`. How often `step()` ran, in
which order things were loaded, or what the optimiser holds, can't change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unbroken.errors import StateMismatch


class Schedule:
    """Sets the rates of an optimiser's groups from the number of updates applied.

    Args:
        optimizer: Its groups' present `lr` are the base rates.
        factor: `factor(updates)` is what the base rates are multiplied by for the next update.
        specification: The numbers that `factor` was made from; saved, and compared at a resume.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        specification: Mapping[str, Any],
    ) -> None:
        self.optimizer = optimizer
        self.factor = factor
        self.specification = dict(specification)
        self.base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.updates = 0
        self.apply()

    def rates(self, updates: int) -> list[float]:
        """Return each group's rate for the update that follows `updates` completed ones."""
        return [base * self.factor(updates) for base in self.base_rates]

    def apply(self) -> None:
        """Write the rates of the next update into the optimiser."""
        for group, rate in zip(self.optimizer.param_groups, self.rates(self.updates), strict=True):
            set_rate(group, rate)

    def step(self) -> None:
        """Count one applied update and set the rates of the next."""
        self.updates += 1
        self.apply()

    def state_dict(self) -> dict[str, Any]:
        """Return the counter and what the schedule is made of."""
        return {
            "updates": self.updates,
            "base_rates": list(self.base_rates),
            "specification": dict(self.specification),
        }

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Say which numbers a saved schedule was made of that this one isn't."""
        return [
            f"{name} is {mine}, was {saved[name]}"
            for name, mine in self.state_dict().items()
            if name != "updates" and mine != saved[name]
        ]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the counter in and set the rates.

        Raises:
            StateMismatch: The saved schedule was made of other numbers.
        """
        found = self.differences(state)
        if found:
            raise StateMismatch(
                f"The schedule is not the checkpoint's: {', '.join(found)}.",
                "The learning rate would leave its curve at the first step.",
                "Use the settings of the run, or start a new one from its weights.",
            )
        self.updates = state["updates"]
        self.apply()


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Write a rate into a parameter group; one in a tensor keeps its storage."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def warmup_cosine(warmup: int, total: int) -> Callable[[int], float]:
    """Linear warm-up, then a half cosine to zero, without an update that is wasted.

    The first update has the factor `1 / warmup` (not 0), update number `warmup` has 1, the last one,
    number `total`, is still above 0.

    Args:
        warmup: Updates until the full rate.
        total: Updates of the whole run; beyond it the factor is 0.
    """

    def factor(updates: int) -> float:
        number = updates + 1
        if number <= warmup:
            return number / warmup
        if number > total:
            return 0.0
        share = (number - warmup) / (total - warmup + 1)
        return 0.5 * (1.0 + math.cos(math.pi * share))

    return factor
