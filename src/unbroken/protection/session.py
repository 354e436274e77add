"""One call of a protected function: finds what is there, resumes, and gives the loop its rounds.

The order of events:

1. The loop that trains is about to begin: its rounds are asked for. What the variables hold by then is
   found, declared to a `Run`, resumed, and told in a table.
2. Rounds that are done are left out; each other one is an epoch of the run. Without a loader it is a step.
3. When the loop asks its loader for a batch, it gets the run's next one.
4. What the loop does is compared with what was found, and what changes with what is saved.
5. The function ends: the run is closed, and no class is changed any more.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch

from unbroken.errors import Diverged
from unbroken.protection import refusals
from unbroken.protection.iterations import Iteration, Patches
from unbroken.protection.protected_run import ProtectedRun
from unbroken.protection.rewritten import Source
from unbroken.protection.rounds import Rounds
from unbroken.protection.seen_changes import LOOK_AT_BATCH, SeenChanges
from unbroken.protection.set_up import SetUp, run_of, set_up
from unbroken.run.by_itself import be_heard
from unbroken.state.step_hooks import tell_before, tell_no_more

_log = logging.getLogger("unbroken")


class Session:
    """A call of a protected function.

    Args:
        directory: Of the run.
        source: The function's loop.
        data: The loader, as the function calls it; empty to look for it.
        accept: Ids of checks whose difference is meant.
        policies: Further arguments of `Run`.
    """

    def __init__(
        self,
        directory: Path | str,
        source: Source,
        data: str,
        accept: Collection[str],
        policies: Mapping[str, Any],
    ) -> None:
        self.is_reading = False
        self.handed_out = 0
        self._directory = directory
        self._source = source
        self._data = data
        self._accept = accept
        self._policies = policies
        self._made: SetUp | None = None
        self._run: ProtectedRun | None = None
        self._patches: Patches | None = None
        self._changes: SeenChanges | None = None
        self._out: weakref.ref[Iteration] | None = None
        self._elsewhere: weakref.ref[Iteration] | None = None
        self._has_trained = False  # in this round
        self._told: list[str] = []
        self._built_inside: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = (
            weakref.WeakKeyDictionary()
        )

    def loop(self, rounds: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """Return what the loop goes through: the rounds that are left. Called by the rewritten code.

        Args:
            rounds: Returns what it would go through without us.

        Raises:
            SettingsInvalid: What is there can't be protected.
            RunMisused: A loop was begun before, or goes on with an iterator that was made before.
        """
        if self._made is not None:
            raise refusals.second_loop(self._source.name)
        frame = sys._getframe(1)  # noqa: SLF001  # the only way to the variables
        made = self._made = set_up(self._source, self._variables(frame), self._data)
        if made.is_one_pass:
            run = self._begun(made, frame, None)
            return self._one_pass(run, rounds())
        left = Rounds(rounds())
        run = self._begun(made, frame, left.first)
        if made.loader is None:
            return self._steps(run, left)
        return self._epochs(run, left)

    def __enter__(self) -> Self:
        """Begin the call."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the run, and put every class back as it was."""
        if self._patches is not None:
            self._patches.take_off()
        tell_no_more(self)
        self._changes = None  # it holds the variables
        if kind is not None and issubclass(kind, Diverged) and self._told:
            _log.warning("[Protect] Not saved, and perhaps the cause: %s.", ", ".join(self._told))
        if self._made is None and (kind is None or issubclass(kind, SystemExit)):
            be_heard()
            _log.warning(
                "[Protect] The loop of %s in line %d was never begun: nothing was saved.",
                self._source.name,
                self._source.loop.lineno,
            )
        if self._run is not None:
            self._run.close()

    def _variables(self, frame: FrameType) -> dict[str, Any]:
        """Return what the code that trains can name, but for what we put there."""
        names = self._source.names
        is_module = frame.f_locals is frame.f_globals
        own = {n: each for n, each in frame.f_locals.items() if n in names or not is_module}
        used = {n: each for n, each in frame.f_globals.items() if n in names and n not in own}
        return {n: each for n, each in {**own, **used}.items() if each is not self}

    def _begun(self, made: SetUp, frame: FrameType, first_round: object) -> ProtectedRun:
        """Make the run, and resume it."""
        variables = self._variables(frame)
        run, self._told = run_of(
            made, variables, self._directory, first_round, self._accept, self._policies
        )
        self._run = run
        tell_before(self)
        run.begin()
        self._changes = SeenChanges(
            lambda: self._variables(frame), made.found, run.state, self._told
        )
        if made.loader is not None:
            self._patches = Patches(made.loader.value, self)
            if run.position.batch:
                self._patches.count_from(run.position.batch, self)
        return run

    def _one_pass(self, run: ProtectedRun, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches of a loop that goes through its loader once."""
        for _ in run.epochs(1):
            yield from batches

    def _steps(self, run: ProtectedRun, left: Rounds) -> Iterator[Any]:
        """Yield the rounds of a loop that draws its own batches: each is a step."""
        steps = run.iterations(left.until)
        left.leave_out(run.position.step)
        for value in left.beside(steps):
            yield value
            self._count_batch()

    def _count_batch(self) -> None:
        self.handed_out += 1
        if self._changes is not None and self.handed_out == LOOK_AT_BATCH:
            self._changes.after_batches()

    def _epochs(self, run: ProtectedRun, left: Rounds) -> Iterator[Any]:
        """Yield the rounds of a loop over epochs."""
        epochs = run.epochs(left.until)
        left.leave_out(run.position.epoch)
        for value in left.beside(epochs):
            self._has_trained = False
            yield value
            self._end_round(run)

    def _end_round(self, run: ProtectedRun) -> None:
        """Compare what the round did with what was found.

        Raises:
            RunMisused: It trained on no batch of the loader, or replaced what is trained.
            Stopped: It caught the error of a stop.
        """
        assert self._made is not None
        assert self._made.loader is not None
        run.require_not_ended()
        if not self._has_trained:
            raise refusals.nothing_trained(self._made.loader.expression)
        out = _alive(self._out)
        if out is not None and not out.is_done:  # by a `break`, or it is kept in a variable
            if run.has_last_batch():
                next(out, None)
            out.leave()
        if self._changes is not None:
            self._changes.after_round()

    def batches_for(self, iteration: Iteration) -> Generator[Any] | None:
        """Return the run's batches, for a loop that trains on them; None for any other."""
        run, made = self._run, self._made
        if run is None or made is None or made.loader is None:
            return None
        if iteration.loader is not made.loader.value:
            return None
        is_training = any(each.value.training for each in made.found.models)
        if not torch.is_grad_enabled() or (self._has_trained and not is_training):
            return None
        if self._has_trained:
            raise refusals.second_pass(made.loader.expression)
        self._out = weakref.ref(iteration)
        self._has_trained = True
        return run.batches_of_loader()

    def next_of(self, batches: Generator[Any]) -> Any:
        """Return the next of the run's batches."""
        with self._reading():
            batch = next(batches)
        self._count_batch()
        if self._patches is not None and self.handed_out == 1:
            self._patches.stop_counting()
        return batch

    def is_asked_again(self, iteration: Iteration) -> None:
        """Refuse to go on with an iterator of an earlier round.

        Raises:
            RunMisused: Always.
        """
        raise refusals.kept_iterator(self._name_of(iteration))

    def is_asked_elsewhere(self, iteration: Iteration) -> None:
        """Take in that a batch is read that isn't the run's.

        Raises:
            RunMisused: It is read along with the run's, from one to the next.
        """
        self._elsewhere = weakref.ref(iteration)
        run, out = self._run, _alive(self._out)
        if run is None or out is None or out.is_done:
            return
        if torch.is_grad_enabled():
            iteration.steps.add(run.position.step)
        if len(iteration.steps) > 1:
            raise refusals.read_along(self._name_of(iteration), self._name_of(out))

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse an update on batches that aren't the run's, or by an optimizer that the loop has built.

        Raises:
            RunMisused: It is one.
        """
        made, run = self._made, self._run
        if made is None or run is None or made.loader is None:
            return
        out, elsewhere = _alive(self._out), _alive(self._elsewhere)
        is_ours = out is not None and not out.is_done
        if not any(each.value is optimizer for each in made.found.optimizers):
            step = run.position.step
            is_known = run.state.optimizer_steps.name_of(optimizer) != ""
            if is_ours and not is_known and self._built_inside.setdefault(optimizer, step) != step:
                raise refusals.built_inside(optimizer)
        elif not is_ours and elsewhere is not None and not elsewhere.is_done:
            raise refusals.trained_elsewhere(self._name_of(elsewhere), made.loader.expression)

    def _name_of(self, iteration: Iteration) -> str:
        found = [] if self._made is None else self._made.found.loaders
        named = (each.expression for each in found if each.value is iteration.loader)
        return next(named, "a loader that the loop builds")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.is_reading = True
        try:
            yield
        finally:
            self.is_reading = False


def _alive(iteration: weakref.ref[Iteration] | None) -> Iteration | None:
    return None if iteration is None else iteration()
