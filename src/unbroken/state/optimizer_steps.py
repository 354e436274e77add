"""Which optimisers step, whoever calls `step()`: PyTorch tells after each.

A loop may make its updates itself, several of one step, or leave them to a gradient scaler that
skips some. What was stepped is learned here and need not be said.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from unbroken.errors import RunMisused
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.step_hooks import tell_after


class OptimizerSteps:
    """What has stepped since the present step of the run began.

    Args:
        parts: Every declared optimiser, by name.
        declared: The leaf path of every parameter of the declared modules, by its identity.
        tell: Is called with the name of each that has stepped.
    """

    def __init__(
        self,
        parts: Mapping[str, OptimizerPart],
        declared: Mapping[int, str],
        tell: Callable[[str], None],
    ) -> None:
        self._tell = tell
        self._parts = dict(parts)
        self._declared = declared
        self._names = {id(part.optimizer): name for name, part in parts.items()}
        self._others: weakref.WeakKeyDictionary[torch.optim.Optimizer, str] = (
            weakref.WeakKeyDictionary()
        )
        self._undeclared: torch.optim.Optimizer | None = None
        self._rates: dict[str, list[Any]] = {}
        self.count = 0
        """How often declared optimisers have stepped in this process."""
        tell_after(self)

    @property
    def names(self) -> set[str]:
        """Names of the optimisers that have stepped; of one inside another, the outer one's."""
        return set(self._rates)

    def begin(self) -> None:
        """Begin a step of the run: nothing has stepped in it yet."""
        self._rates.clear()
        self._undeclared = None

    def rates(self) -> dict[str, float]:
        """Return the learning rates that were stepped with, by name of the group."""
        return {
            f"{name}.{group.get('name', i)}": float(rate)
            for name, rates in self._rates.items()
            for i, (group, rate) in enumerate(
                zip(self._parts[name].optimizer.param_groups, rates, strict=False)
            )
        }

    def first_rate(self, names: Sequence[str]) -> float | None:
        """Return the rate of the first group of the first of some optimisers that has stepped."""
        first = next((self._rates[name] for name in names if self._rates.get(name)), None)
        return None if first is None else float(first[0])

    def names_of(self, optimizers: Sequence[torch.optim.Optimizer]) -> list[str]:
        """Return the names of declared optimisers."""
        return [self._names[id(each)] for each in optimizers]

    def require_declared(self, step: int) -> None:
        """Refuse an optimiser that has stepped with momentum and is in no checkpoint.

        Args:
            step: Number of the present step.

        Raises:
            RunMisused: It updates parameters of a declared module and wasn't declared.
        """
        found, self._undeclared = self._undeclared, None
        if found is None or not found.state:
            return
        paths = [
            self._declared[id(each)]
            for group in found.param_groups
            for each in group["params"]
            if id(each) in self._declared
        ]
        more = f" and {len(paths) - 3} more" if paths[3:] else ""
        raise RunMisused(
            f"In step {step} an optimiser stepped that isn't declared: {type(found).__name__} over "
            f"{', '.join(paths[:3])}{more}.",
            "Its moments would be in no checkpoint; after a stop the training would be another one.",
            'Declare it: Run(optimizer={"first": ..., "second": ...}), or as a part by a name of its own.',
        )

    def name_of(self, optimizer: torch.optim.Optimizer) -> str:
        """Return the name of a declared optimiser, or of the declared one around it; else nothing."""
        return self._names.get(id(optimizer)) or self._outer(optimizer)

    def took(self, optimizer: torch.optim.Optimizer) -> None:
        """Note that an optimiser of this process has stepped."""
        name = self.name_of(optimizer)
        if name:
            self.count += 1
            self._rates[name] = [
                rate.detach().clone() if isinstance(rate, torch.Tensor) else rate
                for rate in map(_rate, self._parts[name].optimizer.param_groups)
            ]
            self._tell(name)

    def _outer(self, optimizer: torch.optim.Optimizer) -> str:
        """Return the declared optimiser that holds the parameters of one that isn't; else nothing."""
        if optimizer not in self._others:
            held = {id(each) for group in optimizer.param_groups for each in group["params"]}
            owners = (
                name
                for name, part in self._parts.items()
                if not held.isdisjoint(map(id, part.parameters.values()))
            )
            is_foreign = not any(each in self._declared for each in held)
            self._others[optimizer] = next(owners, "") or ("" if is_foreign else "?")
        if self._others[optimizer] == "?":
            self._undeclared = optimizer
            return ""
        return self._others[optimizer]


def _rate(group: Mapping[str, Any]) -> Any:
    """Return a group's rate; NaN where it keeps none."""
    rate = group.get("lr")
    return math.nan if rate is None else rate
