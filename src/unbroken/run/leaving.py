"""What a run that is left before its goal, or closed, has trained and not saved: told and noted."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from unbroken.checkpoint.layout import checkpoint_name
from unbroken.checkpoint.saver import Saver
from unbroken.counts import counted
from unbroken.errors import Stopped
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")


class Leaving:
    """Tells what is not saved; the same thing once.

    Args:
        state: Has the position.
        saver: Knows the newest checkpoint.
        note: Writes into the history.
    """

    def __init__(self, state: TrainingState, saver: Saver, note: Callable[..., None]) -> None:
        self._state = state
        self._saver = saver
        self._note = note
        self._until: int | None = None
        self._told: Position | None = None
        self.is_finished = False
        """Whether the last loop came to its end."""

    @property
    def unsaved(self) -> tuple[int, int]:
        """Steps, and samples of the step that was begun, that are in no checkpoint."""
        here, held = self._state.position, self._saver.held
        steps = here.step - (held.step if held else 0)
        return steps, here.samples - (held.samples if held and not steps else 0)

    @contextmanager
    def loop(self, until: int | None, is_stopping: Callable[[], bool]) -> Iterator[None]:
        """Tell of a loop that is left early.

        Args:
            until: Steps that are to be completed; None where none are said.
            is_stopping: Says whether a stop was saved: the steps since then are for the next start.
        """
        self._until, self.is_finished = until, False
        try:
            yield
        except GeneratorExit:
            if not self._saver.is_closed and not is_stopping():
                spared = "; run.save() spares that" if until is not None else ""
                self._tell("The loop was left", f"The next start trains it again{spared}.")
                self._note("left", step=self._state.position.step, until=until)
            raise

    def closed(self, *, is_stopped: bool) -> None:
        """Tell of a run that was closed, and note it.

        Args:
            is_stopped: Whether a stop was saved: the steps since then are for the next start.
        """
        error = sys.exc_info()[0]
        steps, samples = (0, 0) if is_stopped else self.unsaved
        if not is_stopped:
            self._tell(
                "The run was closed",
                "The next start trains it again; run.save() before the close spares that.",
            )
        self._note(
            "closed",
            step=self._state.position.step,
            until=self._until,
            finished=self.is_finished,
            unsaved_steps=steps,
            unsaved_samples=samples,
            error=None if error is None or issubclass(error, Stopped) else error.__name__,
        )

    def _tell(self, what: str, so: str) -> None:
        here, (steps, samples) = self._state.position, self.unsaved
        is_early = self._until is not None and here.step < self._until
        if here == self._told or not (is_early or steps or samples):
            return
        self._told = here
        of = f" of {self._until}" if is_early else ""
        lost = [counted(steps, "step")] if steps else []
        lost += [f"{counted(samples, 'sample')} of step {here.step + 1}"] if samples else []
        held = self._saver.held
        since = f" since {checkpoint_name(held)}" if held else ""
        missing = f" Not saved: {' and '.join(lost)}{since}. {so}" if lost else ""
        _log.warning("%s after step %d%s.%s", what, here.step, of, missing)
