"""The calls of a loop that begins, cuts and ends its steps itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from unbroken.run.ending import Ending
from unbroken.run.loops import Loops
from unbroken.run.open import OpenRun
from unbroken.run.restored import Built, ResumedBeginning
from unbroken.run.step import Step
from unbroken.run.step_result import StepResult
from unbroken.state.training_state import TrainingState


class OwnSteps(ABC):
    """What `Run` offers to such a loop."""

    metrics: dict[str, float]
    """Scores measured since the last step, written into the next checkpoint's manifest."""
    state: TrainingState
    beginning: ResumedBeginning
    _loops: Loops
    _ending: Ending

    @property
    @abstractmethod
    def _open(self) -> OpenRun:
        """What a resume has opened."""

    @abstractmethod
    def _ready(self) -> OpenRun:
        """The same, where a step may be trained."""

    def begin_step(self, sample_ids: Sequence[str] | None = None) -> Step:
        """Begin the next step; a stop is honoured, and other samples are a `StateMismatch`."""
        opened = self._ready()
        self._loops.before_step()
        self.beginning.of_loop(opened)
        return opened.book.begin_step(self, sample_ids)

    def undo_beginning(self) -> None:
        """Undo what was changed since `resume`: it was done before the checkpoint as well.

        For a loop that runs its beginning anew at each start, and saves only after that. Without this
        call a change between `resume` and the first step is refused. Nothing is done where the run
        was not resumed, or has made a step since.
        """
        self.beginning.undo(self._ready())

    def add_part(self, name: str, build: Callable[[], Built]) -> Built:
        """Declare an object that comes into being while training, and return it.

        The loop steps it. A start that goes on from a later checkpoint calls this before its first
        step: the object takes its saved state, and whatever building it changes is undone.

        Raises:
            NotEncodable: It can't be saved, its name is taken, or it is an optimiser.
        """
        return self.beginning.add_part(name, build, self._ready())

    @contextmanager
    def micro_batch(self, samples: int) -> Iterator[None]:
        """Go forward and backward inside: randomness is set before, and the samples count after.

        For a loop that cuts its steps itself; `step.micro_batches` does the same. A stop request is
        honoured after it.

        Args:
            samples: How many of the step's samples go forward and backward.

        Raises:
            StateMismatch: The step has fewer samples left.
            Stopped: A stop was asked for and the run saved.
        """
        self.seed_micro_batch()
        yield
        self.micro_batch_done(samples)

    def seed_micro_batch(self) -> None:
        """Set the global generators from the position, before a micro-batch.

        What a resumed step's beginning did before the stop, and now again, is undone first.
        """
        self.beginning.of_step(self._open)
        self._open.book.seed_micro_batch()

    def micro_batch_done(self, samples: int, *, may_stop: bool = True) -> None:
        """Count a micro-batch whose gradients and sums are in; a stop is honoured here.

        Args:
            samples: How many of the step's samples it had.
            may_stop: Whether the loop can be resumed here; otherwise a stop waits for the step's end.
        """
        is_last = self._open.book.micro_batch_done(samples)
        if may_stop and not is_last and self.state.is_savable:
            self._ending.point_inside_step()

    def pass_over(self, samples: int) -> None:
        """Count samples of the step that another process trains."""
        self._open.book.pass_over(samples)

    def end_step(self, losses: Mapping[str, float], **applied: object) -> StepResult:
        """Count a completed step and write its line into the journal.

        Args:
            losses: `loss` and whatever else is to be journalled, by name.
            applied: Other fields of `StepResult`, where they are known.

        Raises:
            Diverged: The step was repeated and came out otherwise; nothing newer is saved.
        """
        opened = self._open
        self._track_scores()
        self.metrics = {}
        return self._tracked(opened.book.end_step(losses, opened.record.step, applied))

    def give_up_step(self, why: str) -> StepResult:
        """Count the present step as one that can't be done; see `Step.give_up`.

        Args:
            why: A sentence for the journal.

        Raises:
            Diverged: The step was repeated, and was not given up the first time.
        """
        self._track_scores()
        self.metrics = {}
        return self._tracked(self._open.book.give_up(why, self._open.record.step))

    def _track_scores(self) -> None:
        """Hand the last step to the trackers, with the scores that were measured since.

        Not those after a stop was saved: the next start repeats them, and measures what was left out.
        """
        if not self._ending.is_stopping():
            self._open.tracking.hand_over(self.state.position.step, self.metrics)

    def _tracked(self, result: StepResult) -> StepResult:
        self._open.tracking.step(result.step, result.losses, result.rate, result.grad_norm)
        return result
