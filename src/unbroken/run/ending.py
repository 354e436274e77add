"""How a run ends when it is asked to stop: saved at a safe point, then up to two steps more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from pathlib import Path

from unbroken.errors import SaveFailed, Stopped
from unbroken.loop.stop import GracefulStop, StopRequest
from unbroken.run.agreement import Agreement
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")


class RunPhase(Enum):
    """What the steps of a run are made for."""

    TRAINING = auto()
    """They are saved where due."""
    STOPPING = auto()
    """A stop was saved; these are for the next start to repeat and to be proved by."""


class Ending:
    """Honours the requests to stop.

    Args:
        request: Whether there is one.
        grace_seconds: Time from it until the process must be gone.
        state: Has the position.
        save: Saves until it succeeds and returns where; calls what it is given while it waits.
        note: Writes into the history.
        agreement: Of the processes that train.
    """

    def __init__(
        self,
        request: StopRequest,
        grace_seconds: float,
        state: TrainingState,
        save: Callable[[Callable[[SaveFailed], None]], Path],
        note: Callable[..., None],
        agreement: Agreement,
    ) -> None:
        self._request = request
        self._grace_seconds = grace_seconds
        self._state = state
        self._save = save
        self._note = note
        self._agreement = agreement
        self._graceful: GracefulStop | None = None
        self.is_told = False
        """Whether a stop is logged: the program then need not catch it to say so."""
        self._step_seconds = 0.0
        self._stopped_by: Stopped | None = None

    @property
    def phase(self) -> RunPhase:
        """What the next step is made for."""
        return RunPhase.TRAINING if self._graceful is None else RunPhase.STOPPING

    def is_stopping(self) -> bool:
        """Say whether a stop was saved."""
        return self.phase is RunPhase.STOPPING

    def before_own_step(self) -> None:
        """Honour a request in a loop of one's own, before each of its steps.

        Raises:
            Stopped: The state is saved and the steps after it are made.
            SaveFailed: No save succeeded within the grace.
        """
        if self._graceful is not None:  # a step was completed since
            self._graceful.steps_left -= 1
        self.safe_point()

    def step_done(self, seconds: float) -> None:
        """Note how long a step took; the next may take as long."""
        self._step_seconds = seconds
        if self._graceful is not None:
            self._graceful.steps_left -= 1

    def safe_point(self) -> None:
        """Stop here if it was asked for: save first, and end once no further step fits.

        Raises:
            Stopped: The state is saved and the steps after it are made.
            SaveFailed: No save succeeded within the grace.
        """
        self.require_not_ended()
        if not self._request.is_made:
            return
        if self._graceful is None:
            self._graceful = self._saved()
        if self._agreement.decide(self._graceful.is_over(self._step_seconds)):
            raise self._stopped(self._graceful)

    def agrees(self, own: bool) -> bool:
        """Return what the first of all processes would do."""
        return self._agreement.decide(own)

    def point_inside_step(self) -> None:
        """Stop inside a step if it was asked for; where several processes train, not before its end.

        Raises:
            Stopped: The state is saved and the steps after it are made.
            SaveFailed: No save succeeded within the grace.
        """
        if self._agreement.is_alone:
            self.safe_point()

    def require_not_ended(self) -> None:
        """End a program again that went on after its end: it caught the error, with others perhaps.

        Raises:
            Stopped: The one that it was ended by.
        """
        if self._stopped_by is not None:
            raise self._stopped_by

    def at_goal(self) -> None:
        """End a run that reached its last step while it was stopping.

        Raises:
            Stopped: The state is saved.
        """
        if self._graceful is not None:
            raise self._stopped(self._graceful)

    def _stopped(self, graceful: GracefulStop) -> Stopped:
        self._stopped_by = stopped = graceful.stopped()
        if self.is_told and self._agreement.is_leader:
            _log.warning("%s", stopped)
        return stopped

    def _saved(self) -> GracefulStop:
        place = self._save(partial(self._request.require_time_left, self._grace_seconds))
        position = self._state.position
        self._note("stop", reason=self._request.reason, step=position.step, saved=place.name)
        return GracefulStop(
            self._request, self._grace_seconds, place.name, inside_step=position.samples > 0
        )
