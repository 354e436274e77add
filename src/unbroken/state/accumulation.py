"""What an unfinished step has gathered: partial gradients and partial sums of its losses.

They are part of a checkpoint that is taken inside a step, so that no micro-batch is lost or repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class PartialSums:
    """Sums over the micro-batches of the current step, on the device until the step ends."""

    def __init__(self) -> None:
        self.values: dict[str, torch.Tensor] = {}

    def add(self, name: str, value: torch.Tensor | float) -> None:
        """Add one micro-batch's contribution."""
        each = (
            value.detach()
            if isinstance(value, torch.Tensor)
            else torch.tensor(value, dtype=torch.float64)
        )
        self.values[name] = self.values[name] + each if name in self.values else each.clone()

    def clear(self) -> None:
        """Begin a new step."""
        self.values = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums by name."""
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the sums in."""
        self.values = dict(state)


def gradients(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the gradients that exist, by parameter name."""
    return {n: each.grad.detach() for n, each in parameters.items() if each.grad is not None}


def gradient_differences(
    parameters: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]
) -> list[str]:
    """Say which partial gradients belong to no parameter or have another shape."""
    return [
        f"gradients.{name}: shape {tuple(each.shape)}, "
        + (f"parameter {tuple(parameters[name].shape)}" if name in parameters else "no parameter")
        for name, each in saved.items()
        if name not in parameters or parameters[name].shape != each.shape
    ]


def put_gradients(
    parameters: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]
) -> None:
    """Give the parameters their partial gradients back; those not saved have none."""
    for name, each in parameters.items():
        found = saved.get(name)
        each.grad = None if found is None else found.to(each.device, copy=True)
