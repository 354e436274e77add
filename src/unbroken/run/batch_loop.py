"""The batches of a loop that goes forward, backward and updates itself: one step for each.

The order of events:

1. The batch is read, with the generators set for reading it.
2. The step begins, and the generators are set again before the batch is handed out.
3. The loop trains on it as it likes; its updates are seen through PyTorch's own hooks.
4. When it asks for the next one, the step is counted and journalled. It is saved where that is due, and
   a request to stop is honoured.

A loop that leaves an epoch early, by `break`, goes on with the next epoch, as it would without us.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from unbroken.checks.state_summary import StateSummary
from unbroken.errors import SaveFailed
from unbroken.run import misuse
from unbroken.run.epoch_work import EpochWork
from unbroken.run.first_read import FirstRead
from unbroken.run.gradient_sketch import GradientSketch
from unbroken.run.inspector import StateInspector
from unbroken.run.logged import logged
from unbroken.run.loops import Loops
from unbroken.run.open import OpenRun
from unbroken.run.order import Batches
from unbroken.run.own_steps import OwnSteps
from unbroken.run.program_draws import ProgramDraws
from unbroken.run.resume import ResumePolicy
from unbroken.run.step import Step
from unbroken.run.update import Updater

_log = logging.getLogger("unbroken")


@dataclass(slots=True, kw_only=True)
class _HandedOut:
    """A batch that the loop trains on."""

    step: Step
    gradients: GradientSketch
    scale: float | None
    losses: dict[str, Any]


class BatchLoop:
    """Hands out batches, and counts a step for each.

    Args:
        run: The run.
        loops: Goes through its steps.
        work: Knows whether the loop is in the body of an epoch.
        batches: Where they come from.
        updater: Knows the gradient scaler.
    """

    def __init__(
        self, run: OwnSteps, loops: Loops, work: EpochWork, batches: Batches, updater: Updater
    ) -> None:
        self._run = run
        self._loops = loops
        self._loops.hooks = self
        self._work = work
        self._batches = batches
        self._updater = updater
        self._read: tuple[Any] | None = None
        self._out: _HandedOut | None = None
        self._is_going = False
        self._first_read: FirstRead | None = None
        self._draws: ProgramDraws | None = None
        self._save_is_wanted = False

    def is_resumed(
        self, saved: StateSummary, inspector: StateInspector, policy: ResumePolicy
    ) -> None:
        """Learn what the first batches are to be compared with."""
        checks, accept = policy.at_first_read, policy.accept
        self._first_read = FirstRead(saved, inspector, self._batches, checks, accept)

    def watch(self, draws: ProgramDraws) -> None:
        """Have the program's own generators looked at during the first batches."""
        self._draws = draws

    def log(self, values: Mapping[str, Any]) -> None:
        """Take in what is to be journalled of the present batch.

        Raises:
            RunMisused: No batch is out, or a value can't be journalled.
        """
        if self._out is None:
            raise misuse.no_batch_to_log()
        self._out.losses |= logged(values)

    def go(self, opened: OpenRun, until: int | None, call: str) -> Generator[Any]:
        """Yield the batches; see `Run.batches`.

        Args:
            opened: The open run.
            until: Batches that are then completed; None for those of the epoch.
            call: How the loop asked for them.
        """
        self._loops.require_not_ended()
        self._require_new(until, call)
        self._tell_place(call)
        self._is_going = True
        try:
            with closing(self._loops.steps(opened, until, lambda: self._is_read(opened))) as steps:
                for step in steps:
                    batch = self._hand_out(opened, step)
                    try:
                        yield batch
                    except GeneratorExit:
                        self._work.leave_early()
                        raise
                    self.count(opened)
        finally:
            self._is_going = False

    def _require_new(self, until: int | None, call: str) -> None:
        """Refuse a loop inside another one, a second one in an epoch, and one without an end.

        Raises:
            RunMisused: It is one of these.
        """
        if self._is_going:
            raise misuse.nested_batches(call)
        self._out = None  # of a loop that failed: its batch comes again
        if until is None and self._work.number is None:
            raise misuse.batches_without_end(call)
        if self._work.is_to_do(self._run.state.position):
            raise misuse.batches_twice(call, self._work.number)

    def _tell_place(self, call: str) -> None:
        position = self._run.state.position
        if self._draws is not None and self._first_read and position.batch and call == "batches":
            _log.info(
                "[Resume] %d batches of epoch %d are done (run.enumerate() counts on from there, "
                "enumerate() from 0).",
                position.batch,
                position.epoch,
            )

    def ask(self, opened: OpenRun, epoch: int | None) -> tuple[Any] | None:
        """Return the next batch, alone in a tuple, to a loop that asks for each; None at an epoch's end.

        Args:
            opened: The open run.
            epoch: The one that the loop is in; batches that are left of an earlier one are left out.
        """
        here = self._run.state.position.epoch
        if epoch is not None and here != epoch:
            if here > epoch:
                return None
            self._leave(opened)
        if not self._is_read(opened):
            return None
        return (self._hand_out(opened, self._run.begin_step()),)

    def count(self, opened: OpenRun) -> None:
        """Count the batch that was handed out last, if it isn't counted yet."""
        if self._out is not None:
            self._finish(opened)

    def _is_read(self, opened: OpenRun) -> bool:
        """Read the next batch; where the epoch has no more, stand at the next one's start."""
        state = self._run.state
        self._run.beginning.of_loop(opened)  # before reading moves on what a loader saves of itself
        if self._first_read is not None:
            first, self._first_read = self._first_read, None
            first.compare()
        self._read = self._batches.take(state.position)
        if self._read is None:
            self._to_next_epoch(opened)
        opened.book.seeds_at_once = self._read is not None
        return self._read is not None

    def _hand_out(self, opened: OpenRun, step: Step) -> Any:
        """Set the generators for the batch that was read, and return it."""
        assert self._read is not None
        (batch,), self._read = self._read, None
        sketch = GradientSketch(self._run.state, opened.monitor.before_own_update)
        self._run.seed_micro_batch()
        sketch.begin()
        self._out = _HandedOut(
            step=step, gradients=sketch, scale=self._updater.loss_scale, losses={}
        )
        return batch

    def _finish(self, opened: OpenRun) -> None:
        """Count the batch that the loop has trained on."""
        assert self._out is not None
        out, self._out, batches = self._out, None, self._batches
        sketch = out.gradients.end()
        if opened.monitor.looks_at_updates:
            opened.monitor.before_update(out.step.number, self._run.state.stepped_paths())
            opened.monitor.after_update(out.step.number)
        self._run.micro_batch_done(len(out.step.indices) - out.step.samples_done)
        batches.mark_trained()
        if self._draws is not None:
            self._draws.batch_done()
        losses = {name: float(each) for name, each in out.losses.items()}
        norm = losses.pop("grad_norm", math.nan)
        self._run.end_step(
            losses,
            grad_norm=norm,
            gradient_sketch=sketch.norm,
            gradient_direction=sketch.direction,
            loss_scale=out.scale,
            content=batches.content,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Tell the loader which epoch begins; the body may tell it otherwise."""
        self._batches.tell_epoch(epoch)

    def next_of_step(self) -> None:
        """Count a batch of a step of several, and set the generators for the one after it.

        Raises:
            RunMisused: The step has no further batch.
        """
        sizes, done = self._batches.sizes, self._run.state.position.samples
        counted = list(accumulate(sizes, initial=0))
        if self._out is None or done not in counted[: len(sizes) - 1]:
            raise misuse.no_further_batch()
        self._run.micro_batch_done(sizes[counted.index(done)], may_stop=False)
        self._run.seed_micro_batch()

    def close(self) -> None:
        """Let the workers of the loader end; the program may not."""
        self._batches.close()

    def leave_epoch(self, opened: OpenRun) -> bool:
        """Go on to the next epoch, where the loop has left this one's batches by itself.

        Returns:
            False where it has not.
        """
        if not self._work.is_left_early:
            return False
        epoch = self._run.state.position.epoch
        self.count(opened)
        if self._run.state.position.epoch == epoch:
            self._leave(opened)
        return True

    def _leave(self, opened: OpenRun) -> None:
        """Leave out the batches that the epoch has left, as the loop wants it."""
        position = self._run.state.position
        opened.record.note("epoch left", epoch=position.epoch, step=position.step)
        self._to_next_epoch(opened)

    def _to_next_epoch(self, opened: OpenRun) -> None:
        position = self._run.state.position
        self._run.state.begin_step(replace(position, epoch=position.epoch + 1, batch=0))
        opened.book.seed_micro_batch()

    def require_between(self) -> None:
        """Refuse a save while the loop trains on a batch.

        Raises:
            SaveFailed: It does: the position doesn't count the batch, and what it did is in the state.
        """
        if self._out is not None:
            raise SaveFailed(
                f"save() was called while batch {self._out.step.number} is trained on.",
                "The next start would train it again, on top of what it has done already. Nothing was "
                "saved.",
                "Call run.save_in_background(at_once=True): it saves when the loop asks for the next one.",
            )

    def delays_save(self, *, at_once: bool) -> bool:
        """Say whether a save has to wait for the batch to be done; one that is wanted is made then."""
        self._save_is_wanted |= at_once and self._out is not None
        return self._out is not None

    def takes_delayed_save(self) -> bool:
        """Say, once, whether a save was asked for inside a batch."""
        is_wanted, self._save_is_wanted = self._save_is_wanted, False
        return is_wanted
