"""How many steps the optimizers of a saved state count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.state.optimizer_form import OPTIMIZER_KEYS
from unbroken.state.stored import in_memory, is_tensor


def saved_steps(parts: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the smallest and largest step counter of each optimiser that keeps some."""
    found = {}
    for name, part in parts.items():
        if isinstance(part, Mapping) and set(part) >= OPTIMIZER_KEYS:
            counters = [
                float(in_memory(each["step"]))
                for each in part["state"].values()
                if isinstance(each, Mapping) and _is_counter(each.get("step"))
            ]
            if counters:
                found[name] = [min(counters), max(counters)]
    return found


def _is_counter(value: Any) -> bool:
    if is_tensor(value):
        return bool(value.shape.numel() == 1)
    return isinstance(value, int | float)
