"""What an `Accelerator` counts and knows while it trains, as a part of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AcceleratorState:
    """The counter of gradient accumulation, and whether the present batch ends a cycle.

    Args:
        accelerator: The program's.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator

    def state_dict(self) -> dict[str, Any]:
        """Return both."""
        accelerator = self._accelerator
        return {
            "step": accelerator.step,
            "sync_gradients": accelerator.gradient_state.sync_gradients,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set both."""
        self._accelerator.step = state["step"]
        self._accelerator.gradient_state._set_sync_gradients(state["sync_gradients"])  # noqa: SLF001  # among NEEDED
