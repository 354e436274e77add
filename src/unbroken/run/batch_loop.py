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

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch

from unbroken.errors import RunMisused
from unbroken.run.epoch_work import EpochWork
from unbroken.run.gradient_norm import GradientNorm
from unbroken.run.loops import Loops
from unbroken.run.open import OpenRun
from unbroken.run.order import Batches
from unbroken.run.own_steps import OwnSteps
from unbroken.run.step import Step
from unbroken.run.update import Updater


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
        self._work = work
        self._batches = batches
        self._updater = updater
        self._read: tuple[Any] | None = None
        self._losses: dict[str, Any] = {}
        self._unfinished: tuple[Step, GradientNorm, float | None] | None = None

    def log(self, values: dict[str, Any]) -> None:
        """Take in what is to be journalled of the present batch."""
        self._losses |= {
            name: each.detach() if isinstance(each, torch.Tensor) else each
            for name, each in values.items()
        }

    def go(self, opened: OpenRun, until: int | None) -> Generator[Any]:
        """Yield the batches; see `Run.batches`."""
        with closing(self._loops.steps(opened, until, lambda: self._is_read(opened))) as steps:
            for step in steps:
                assert self._read is not None
                (batch,), self._read, self._losses = self._read, None, {}
                gradients = GradientNorm(opened.book.state, opened.monitor.before_own_update)
                scale = self._updater.loss_scale
                self._run.seed_micro_batch()
                gradients.begin()
                self._unfinished = (step, gradients, scale)
                try:
                    yield batch
                except GeneratorExit:
                    self._work.leave_early()
                    raise
                self.finish(opened)

    def _is_read(self, opened: OpenRun) -> bool:
        """Read the next batch; where the epoch has no more, stand at the next one's start."""
        state = self._run.state
        self._read = self._batches.take(state.position)
        if self._read is None:
            self._run.beginning.of_loop(opened)
            self._to_next_epoch(opened)
        return self._read is not None

    def next_of_step(self) -> None:
        """Count a batch of a step of several, and set the generators for the one after it.

        Raises:
            RunMisused: The step has no further batch.
        """
        sizes, done = self._batches.sizes, self._run.state.position.samples
        counted = list(accumulate(sizes, initial=0))
        if self._unfinished is None or done not in counted[: len(sizes) - 1]:
            raise RunMisused(
                "run.next_of_step() was called, and the step has no further batch.",
                "The randomness of the batch would be that of another place.",
                "Call it between two batches of one list that run.batches() has given.",
            )
        self._run.micro_batch_done(sizes[counted.index(done)], may_stop=False)
        self._run.seed_micro_batch()

    def finish(self, opened: OpenRun) -> None:
        """Count the step that the loop has trained on, if it isn't counted yet."""
        if self._unfinished is None:
            return
        (step, gradients, scale), self._unfinished = self._unfinished, None
        norm = gradients.end()
        opened.monitor.before_update(step.number, self._run.state.stepped_paths())
        opened.monitor.after_update(step.number)
        self._run.micro_batch_done(len(step.indices) - step.samples_done)
        losses = {name: float(each) for name, each in self._losses.items()}
        batches, here = self._batches, self._run.state.position
        batches.trained, batches.trained_at = batches.content, (here.epoch, here.batch)
        self._run.end_step(losses, grad_norm=norm, loss_scale=scale, content=batches.content)

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
        self.finish(opened)
        if self._run.state.position.epoch == epoch:
            self._to_next_epoch(opened)
        return True

    def _to_next_epoch(self, opened: OpenRun) -> None:
        position = self._run.state.position
        self._run.state.begin_step(replace(position, epoch=position.epoch + 1, batch=0))
        opened.book.seed_micro_batch()
