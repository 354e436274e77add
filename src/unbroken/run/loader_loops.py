"""The loops over what a program has already: its loader, or iterations that draw their own batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from unbroken.errors import RunMisused, SaveFailed
from unbroken.loaders.iterations import Iterations
from unbroken.run.batch_loop import BatchLoop
from unbroken.run.by_itself import tell
from unbroken.run.order import Order
from unbroken.run.own_steps import OwnSteps


class LoaderLoops(OwnSteps):
    """What `Run` offers to a loop that goes forward, backward and updates itself."""

    _order: Order
    _batch_loop: BatchLoop | None

    def batches(self, until: int | None = None) -> Generator[Any]:
        """Yield what the loader of `Run(data=...)` yields, from the run's position on.

        Each batch is a step of the run. The loop goes forward, backward and updates as it likes: each
        batch, every few, or several times. Inside `for epoch in run.epochs(...)` these are the batches
        that are left of the epoch.

        Args:
            until: How many batches are then completed since the run began, for a loop without epochs.

        Raises:
            Stopped: A stop was asked for and the run saved.
            DataInvalid: The data set doesn't give the same sample twice, or the loader gives no batch.
            RunMisused: The run has no data, or its batches are gone through already.
        """
        return self._started("batches", until)

    def enumerate(self, until: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield `(number of the batch in its epoch, batch)`; otherwise as `batches`.

        After a resume inside an epoch the numbers go on.
        """
        with closing(self._started("enumerate", until)) as batches:
            for batch in batches:
                yield self.state.position.batch, batch

    def iterations(self, until: int) -> Generator[int]:
        """Yield the numbers of the steps, from 0, for a loop that draws its own batches.

        Every number that the body draws from torch, numpy or `random` is a function of seed and step.

        Args:
            until: How many steps are then completed since the run began.

        Raises:
            Stopped: A stop was asked for and the run saved.
            RunMisused: The run has data or an order.
        """
        return self._started("iterations", until)

    def next_batch(self, epoch: int | None = None) -> tuple[Any] | None:
        """Count the batch before, and return the next one: for a loop that belongs to a framework.

        Such a loop can't be written over `run.batches()`, but it asks an iterator for each batch. A
        checkpoint that is due is saved here, and a request to stop is honoured, before the batch is
        read. Signals are heard inside `with run.stop.listening():`.

        Args:
            epoch: The epoch that the loop is in, from 0, where it may leave one early: what is left of
                an earlier one is then left out. None where it trains each epoch to its end.

        Returns:
            The batch, alone in a tuple. None where the epoch that was begun has no more.

        Raises:
            Stopped: A stop was asked for and the run saved.
            RunMisused: The run has no data.
        """
        loop, opened = self._loop_over("next_batch", is_of_data=True), self._ready()
        loop.count(opened)
        if not self._ending.is_stopping():
            self.save_in_background()
        return loop.ask(opened, epoch)

    def end_batches(self) -> None:
        """Count the batch that `next_batch` returned last, and save: the loop has reached its end.

        Raises:
            Stopped: A stop was asked for, and the run was saved a little before.
            SaveFailed: No save succeeded within the grace of a stop, or in the time that may be lost.
        """
        self._loop_over("end_batches", is_of_data=True).count(self._ready())
        self._ending.at_goal()
        self._save_until(lambda _: self._ending.safe_point())

    @abstractmethod
    def save_in_background(self, *, at_once: bool = False) -> None:
        """Hand over a checkpoint that is due, or wanted `at_once`."""

    @abstractmethod
    def _save_until(self, meanwhile: Callable[[SaveFailed], None]) -> Path:
        """Save until it succeeds."""

    def next_of_step(self) -> None:
        """Go on to the next batch of a step of several: it has randomness of its own.

        For `Run(batches_per_step=...)`, between two batches of one list.

        Raises:
            RunMisused: The step has no further batch.
        """
        self._loop_over("next_of_step", is_of_data=True).next_of_step()

    def step_done(self) -> None:
        """Count the present batch, or step of several, as trained.

        Asking for the next one does that by itself. Call it where something that must not come from
        a step that diverged, such as a file of weights, is written before.

        Raises:
            Diverged: The step was repeated and came out otherwise.
        """
        self._loop_over("step_done", is_of_data=None).count(self._ready())

    def log(self, **values: Any) -> None:
        """Write numbers of the present batch, such as `loss`, into its line of the journal.

        A resume compares them where it repeats the batch. Without them it compares gradients and
        weights.

        Args:
            values: Numbers, or tensors of one element.
        """
        self._loop_over("log", is_of_data=None).log(values)

    def _started(self, call: str, until: int | None) -> Generator[Any]:
        loop = self._loop_over(call, is_of_data=call != "iterations")
        opened = self._ready()
        if not self._ending.is_told:  # the program has called resume() itself
            self._ending.is_told = True
            tell(opened.report)
        return loop.go(opened, until, call)

    def _loop_over(self, call: str, *, is_of_data: bool | None) -> BatchLoop:
        loop = self._batch_loop
        is_drawn = isinstance(self._order, Iterations)
        if loop is None or (is_of_data is not None and is_of_data == is_drawn):
            needs = "neither data= nor order=" if is_of_data is False else "data="
            raise RunMisused(
                f"run.{call}() was called on a run that was not made for it.",
                "It can't know which samples a step has.",
                f"Make the run with {needs}; a run with order= is looped over by run.steps().",
            )
        return loop
