"""Whether a loop changed the state after the last step that was asked for: an epoch's work, say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from unbroken.run.flat_state import flat
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")


class GoalState:
    """Remembers the state with which `run.steps(until=...)` ended.

    Args:
        state: The live state.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._position: Position | None = None
        self._seen: tuple[Mapping[str, Any], Mapping[str, int]] = ({}, {})
        self._was_told = False

    def reached(self) -> None:
        """Remember the state as it is now, without reading a tensor."""
        self._position, self._seen = self._state.position, self._look()

    @property
    def is_here(self) -> bool:
        """Whether such a loop has ended where the run stands."""
        return self._position is not None and self._position == self._state.position

    def has_changed(self) -> bool:
        """Say whether the state is another than at the goal, where no step was trained since."""
        position, self._position = self._position, None
        if position is None or position != self._state.position or self._look() == self._seen:
            return False
        if not self._was_told:
            self._was_told = True
            _log.warning(
                "The state changed after run.steps(until=%d) had ended and was saved; it is saved "
                "again now. A stop in between would have left that change out: where it is the work "
                "of an epoch, loop over run.epochs(...).",
                position.step,
            )
        return True

    def _look(self) -> tuple[Mapping[str, Any], Mapping[str, int]]:
        """Return what is no tensor, and how often each tensor was changed in place."""
        values, tensors = flat(self._state.capture())
        return values, {path: each._version for path, each in tensors.items()}  # noqa: SLF001  # PyTorch's own count of in-place changes, which has no public name
