"""What a run counts while it steps: micro-batches, steps, their randomness and their journal lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unbroken.audit.self_audit import SelfAudit
from unbroken.errors import StateMismatch
from unbroken.journal.change import MICRO_BATCH_SIZE
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.order import Order
from unbroken.run.sample_ledger import SampleLedger
from unbroken.run.shared_step import SharedStep
from unbroken.run.step import LoopCalls, Step
from unbroken.run.step_cut import StepCut
from unbroken.run.step_result import StepResult
from unbroken.run.update import Updater, learned_of_step
from unbroken.state.position import with_updates
from unbroken.state.random_streams import RandomStreams
from unbroken.state.randomness import has_drawn_since
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")


class StepBookkeeping:
    """Moves the position on, micro-batch by micro-batch and step by step.

    Args:
        order: Says which samples a step has.
        state: Has the position.
        updater: Applies the gradients of a step.
        monitor: Looks at each completed step where a resume is watched.
        streams: What the randomness of each step derives from.
        audit: Looks at the first steps for what no checkpoint holds.
        tell: Tells other processes the line of a step that is done.
        shared: This process's share of each step, where several train.
        ledger: Says which samples a step used.
    """

    def __init__(  # noqa: PLR0913  # all that a step touches
        self,
        order: Order,
        state: TrainingState,
        updater: Updater,
        monitor: ResumeMonitor,
        streams: RandomStreams,
        audit: SelfAudit,
        *,
        tell: Callable[[Mapping[str, Any]], None],
        shared: SharedStep,
        ledger: SampleLedger,
    ) -> None:
        self._order = order
        self._ledger = ledger
        self._state = state
        self._updater = updater
        self._monitor = monitor
        self._streams = streams
        self._audit = audit
        self._tell = tell
        self._shared = shared
        self._cut = StepCut()
        self.seeds_at_once = False
        """Whether the next step is followed at once by its micro-batch: nobody draws in between."""

    def begin_epoch(self) -> None:
        """Set the global generators for the beginning of an epoch's body."""
        self._streams.begin_epoch(self._state.position.epoch)

    def begin_step(self, calls: LoopCalls, sample_ids: Sequence[str] | None) -> Step:
        """Return the next step, and set the global generators for its beginning.

        Args:
            calls: The run's own calls, by which the step is counted.
            sample_ids: What a loop is about to use; None where it asks the step.

        Raises:
            StateMismatch: That is not what the run uses next.
        """
        self._audit.before_step()
        step = Step(
            calls,
            order=self._order,
            state=self._state,
            updater=self._updater,
            monitor=self._monitor,
            cut=self._cut,
            audit=self._audit,
            shared=self._shared,
        )
        if sample_ids is not None:
            step.require_samples(sample_ids)
        self._state.optimizer_steps.begin()
        self._updater.begin_step()
        self._streams.begin_step(self._state.position, is_set_anew=self.seeds_at_once)
        self.seeds_at_once = False
        return step

    def leave_step(self) -> None:
        """Let the global generators go, where a step is over or left, and look at no further update."""
        self._streams.end_step()
        self._audit.after_step()

    def seed_micro_batch(self) -> None:
        """Set the global generators from the position."""
        self._streams.begin_micro_batch(self._state.position)

    def micro_batch_done(self, samples: int) -> bool:
        """Count a micro-batch; say whether it was the last of its step.

        Raises:
            StateMismatch: The step has fewer samples left, or none were counted.
        """
        here = self._state.position
        count = len(self._order.at(here))
        left = count - here.samples
        if not 0 < samples <= left:
            raise StateMismatch(
                f"A micro-batch of {samples} samples was counted, and step {here.step + 1} has {left} left.",
                "A resume would begin at a sample that the step doesn't have.",
                "Count each micro-batch once, with as many samples as it used.",
            )
        self._audit.gradients_are_in()
        before = self._state.count(samples)
        self._cut.micro_batch(samples)
        if self._monitor.asks_for_draws and not self._cut.drew:
            self._cut.drew = has_drawn_since(self._streams.seed_at(before))
        return self._are_all_done(count)

    def pass_over(self, samples: int) -> None:
        """Count samples of the step that another process trains."""
        if samples:
            self._state.pass_over(samples)
            self._are_all_done(len(self._order.at(self._state.position)))

    def _are_all_done(self, count: int) -> bool:
        """Say whether the step has no more samples; then what follows its micro-batches begins."""
        position = self._state.position
        is_last = position.samples >= count
        if is_last:
            self._state.fingerprint.record()
            self._streams.end_micro_batches(position)
        return is_last

    def end_step(
        self,
        losses: Mapping[str, float],
        journal: Callable[[dict[str, Any]], None],
        applied: dict[str, Any],
    ) -> StepResult:
        """Count a completed step and write its line into the journal, whatever the monitor says.

        Args:
            losses: What is to be journalled, by name.
            journal: Writes a line.
            applied: Other fields of `StepResult`, where they are known.

        Raises:
            Diverged: The step was repeated and came out otherwise.
            StateMismatch: Samples of the step were not counted.
        """
        state, before = self._state, self._state.position
        missing = len(self._order.at(before)) - before.samples
        if missing:
            raise StateMismatch(
                f"Step {before.step + 1} ends, and {missing} of its samples were not counted.",
                "They would be left out of the training without a trace.",
                "Count each micro-batch with micro_batch_done() before end_step().",
            )
        if "fingerprint" not in applied:
            applied["fingerprint"] = state.fingerprint.summary()
        state.optimizer_steps.require_declared(before.step + 1)
        learned = learned_of_step(state, self._updater) if "skipped" not in applied else {}
        result = StepResult(step=before.step + 1, losses=losses, **{**learned, **applied})
        return self._counted(result, journal)

    def give_up(self, why: str, journal: Callable[[dict[str, Any]], None]) -> StepResult:
        """Count a step that can't be done: no further update, no gradients, no losses.

        Args:
            why: What the journal keeps of it.
            journal: Writes a line.
        """
        state, before = self._state, self._state.position
        learned = learned_of_step(state, self._updater)
        learned["skipped"] |= learned.pop("gathers")
        state.drop_gradients()
        state.fingerprint.record()
        fingerprint = state.fingerprint.summary()
        self._cut = StepCut()  # how much of it was done before it failed may differ
        _log.warning("Step %d was given up, its samples are left out: %s", before.step + 1, why)
        return self._counted(
            StepResult(
                step=before.step + 1, losses={}, given_up=why, fingerprint=fingerprint, **learned
            ),
            journal,
        )

    def _counted(self, result: StepResult, journal: Callable[[dict[str, Any]], None]) -> StepResult:
        """Move on to the next step and write this one's line."""
        state, order, before = self._state, self._order, self._state.position
        ids = order.names_at(before)
        updates = before.updates + (not (result.skipped or result.gathers))
        state.end_step(
            with_updates(order.after(before), updates),
            is_update_left_out=result.skipped and self._updater.scaler_skips,
        )
        self.leave_step()
        line = result.line(state.position, before.epoch, ids)
        line |= self._ledger.fields(before, state.position, ids)
        if self._cut.largest:
            line[MICRO_BATCH_SIZE] = self._cut.largest
        drew, self._cut = self._cut.drew, StepCut()
        try:
            self._monitor.step(line, result.rates, drew=drew)
        finally:
            journal(line)
        self._tell(line)
        return result
