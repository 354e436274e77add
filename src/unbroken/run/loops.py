"""The loops of a run: its steps, one after the other, and its epochs.

The order of events in `steps`:

1. A step batch is given out. The randomness is set at its start, before each of its micro-batches
   and after the last.
2. `step.update` completes the step, and a line goes to the journal.
3. The loop's own body runs on (validation, logging).
4. A checkpoint is saved if one is due.
5. A stop request is honoured: saved, then up to two steps more for the next start to repeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Protocol

from unbroken.errors import SaveFailed, SettingsInvalid
from unbroken.loop.stop import StopRequest
from unbroken.run.ending import Ending, RunPhase
from unbroken.run.epoch_work import EpochWork
from unbroken.run.goal_state import GoalState
from unbroken.run.open import OpenRun
from unbroken.run.restored import ResumedBeginning
from unbroken.run.step import Step
from unbroken.state.position import Position


class Stepping(Protocol):
    """What the loops call on their run."""

    metrics: dict[str, float]
    beginning: ResumedBeginning

    @property
    def position(self) -> Position:
        """Where the run stands."""
        ...

    def begin_step(self) -> Step:
        """Begin the next step."""
        ...

    def save_in_background(self, *, at_once: bool = False) -> None:
        """Hand over a checkpoint that is due, or wanted `at_once`."""
        ...


class EpochHooks(Protocol):
    """What else is done at both ends of an epoch's body."""

    def begin_epoch(self, epoch: int) -> None:
        """Take in which epoch begins, before its body."""
        ...

    def leave_epoch(self, opened: OpenRun) -> bool:
        """Go on to the next epoch; return False where the loop may not leave this one early."""
        ...


class NoHooks:
    """Nothing is done there, and no epoch may be left early."""

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing."""

    def leave_epoch(self, opened: OpenRun) -> bool:
        """Return False."""
        del opened
        return False


class Loops:
    """Goes through a run, saves where it is due, and ends where a stop was asked for.

    Args:
        run: The run.
        stop: Whether a stop was asked for.
        ending: Honours it.
        work: Knows whether the work at the end of an epoch is done.
        goal: Knows whether the state changed after the goal was reached.
        save_until: Saves until it succeeds; calls what it is given while it waits.
    """

    def __init__(  # what a loop needs of its run
        self,
        run: Stepping,
        stop: StopRequest,
        ending: Ending,
        work: EpochWork,
        goal: GoalState,
        save_until: Callable[[Callable[[SaveFailed], None]], Path],
    ) -> None:
        self._run = run
        self._stop = stop
        self._ending = ending
        self._work = work
        self._goal = goal
        self._save_until = save_until
        self.hooks: EpochHooks = NoHooks()
        """Are called at both ends of an epoch's body."""
        self._is_running = False

    def require_not_ended(self) -> None:
        """End a program again that has caught the error of its stop, and goes on.

        Raises:
            Stopped: It has.
        """
        self._ending.require_not_ended()

    def before_step(self) -> None:
        """Honour a request to stop before a step of a loop of one's own; `steps` does it itself."""
        if not self._is_running:
            self._ending.before_own_step()

    def epochs(self, opened: OpenRun, until: int) -> Iterator[int]:
        """Yield the numbers of the epochs; see `Run.epochs`."""
        run, ending, work = self._run, self._ending, self._work
        with self._stop.listening(), opened.leaving.loop(None, ending.is_stopping):
            ending.safe_point()
            while run.position.epoch < until:
                work.begin(run.position.epoch)
                opened.book.begin_epoch()
                self.hooks.begin_epoch(run.position.epoch)
                run.beginning.of_body()
                yield run.position.epoch
                ending.require_not_ended()
                if work.has_steps(run.position) and not self.hooks.leave_epoch(opened):
                    raise work.left_early(run.position)
                self._save_if_training(at_once=work.end())
                ending.safe_point()
            ending.at_goal()
            self._save_until(lambda _: ending.safe_point())
            opened.leaving.is_finished = True

    def steps(
        self, opened: OpenRun, until: int | None, is_ready: Callable[[], bool] = lambda: True
    ) -> Generator[Step]:
        """Yield the steps; see `Run.steps`.

        Args:
            opened: The open run.
            until: Steps that are then completed; None for those of the epoch.
            is_ready: Called before each step; False where the epoch has turned out to be over.
        """
        run, ending, work = self._run, self._ending, self._work
        self._require_goal(until)
        if work.number is None:  # the work at the end of an epoch can't be repeated
            opened.monitor.allow_repeating()
        with self._stop.listening(), opened.leaving.loop(until, self._is_left_rightly):
            if self._goal.is_here and ending.agrees(self._goal.has_changed()):
                opened.saves.save(run.metrics, wait=True, anew=True)
            ending.safe_point()
            while not self._is_at_goal(until):
                began = time.monotonic()
                if not is_ready():
                    continue
                yield from self._one_step(opened)
                if _repeats_from_checkpoint(opened):
                    continue
                ending.step_done(time.monotonic() - began)
                if work.is_to_do(run.position):
                    break
                self._save_if_training()
                ending.safe_point()
            ending.at_goal()
            if run.position.step == until and not work.is_to_do(run.position):
                self._save_until(lambda _: ending.safe_point())
                self._goal.reached()
                opened.leaving.is_finished = True

    def _is_left_rightly(self) -> bool:
        """Say whether a loop that is left has nothing to tell: it stops, or its epoch goes on."""
        return self._ending.is_stopping() or self._work.is_left_early

    def _require_goal(self, until: int | None) -> None:
        if until is None and self._work.number is None:
            raise SettingsInvalid(
                "run.steps() was called without until=, outside of run.epochs().",
                "Nothing says where the training ends.",
                "Give until=, the number of steps in all, or loop over run.epochs(...).",
            )

    def _is_at_goal(self, until: int | None) -> bool:
        position = self._run.position
        return self._work.is_to_do(position) or (until is not None and position.step >= until)

    def _save_if_training(self, *, at_once: bool = False) -> None:
        if self._ending.phase is RunPhase.TRAINING:
            self._run.save_in_background(at_once=at_once)

    def _one_step(self, opened: OpenRun) -> Iterator[Step]:
        self._is_running = True
        try:
            step = self._run.begin_step()
            yield step
        finally:
            self._is_running = False
            opened.book.leave_step()
        if self._run.position.step < step.number:
            step.leave()


def _repeats_from_checkpoint(opened: OpenRun) -> bool:
    """Go back to the checkpoint where the replay asks for its steps once more."""
    if not opened.monitor.asks_to_repeat:
        return False
    is_put_back = opened.restored.put_back()
    if is_put_back:
        opened.record.note("put back", step=opened.report.position.step)
    opened.monitor.begin_again(is_put_back=is_put_back)
    return is_put_back
