"""What a loop tells of a batch, as the journal takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.errors import RunMisused
from unbroken.journal.line import OWN_NAMES


def logged(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for the journal; a tensor stays on its device until the batch is done.

    Raises:
        RunMisused: A value is no number, or its name is one that the journal uses itself.
    """
    if taken := sorted(OWN_NAMES & values.keys()):
        raise RunMisused(
            f"run.log({taken[0]}=...) has a name that the journal uses itself.",
            "The line of the batch would tell something else by it.",
            "Choose another name; `lr` and `grad_norm` may be given.",
        )
    return {name: _number(name, each) for name, each in values.items()}


def _number(name: str, value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.detach()
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        kind = f"a tensor of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
        raise RunMisused(
            f"run.log({name}=...) is {kind[:80]}.",
            "A line of the journal has one number for each name.",
            f"Give a number, such as {name}.mean() of a tensor.",
        ) from None
