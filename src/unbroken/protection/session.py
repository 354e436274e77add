"""One call of a protected function: finds what is there, resumes, and gives the loop its rounds.

The order of events:

1. The loop that trains is about to begin: its rounds are asked for. What the variables hold by then is
   found, declared to a `Run`, resumed, and told in a table.
2. Rounds that are done are left out; each other one is an epoch of the run. Without a loader it is a step.
3. When the loop asks its loader for a batch, it gets the run's next one.
4. The function ends: the run is closed, and nothing is left of us in any class.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch

from unbroken.checks import Advice
from unbroken.loaders.found_generators import generators_in
from unbroken.protection import refusals
from unbroken.protection.begun_anew import ChangedInPlain, begun_anew
from unbroken.protection.chosen_loader import chosen_loader, is_over, require_no_iterator
from unbroken.protection.found import Found, FoundObjects, find
from unbroken.protection.iterations import Iteration, Patches
from unbroken.protection.rewritten import Source
from unbroken.protection.table import table
from unbroken.run.by_itself import be_heard
from unbroken.run.resume import ResumeReport
from unbroken.run.run import Run
from unbroken.state.step_hooks import tell_before, tell_no_more

_log = logging.getLogger("unbroken")
_END: Final = object()
SAY: Final = {
    "order-unchanged": Advice(
        cause="The program was seeded otherwise, or the loader has another sampler.",
        remedy="Give the loader the run's sampler, and call torch.manual_seed() as the run did before the "
        "loop, or give protect(seed=...) its seed.",
    ),
    "other-facts-unchanged": Advice(
        remedy="Give the loader, and `facts=`, as the run had them; new ones are used with "
        'protect(accept=["other-facts-unchanged"]).',
    ),
}
"""What somebody who wrote `protect` can do about a finding."""


class ProtectedRun(Run):
    """A run that is resumed with the differences that were accepted beforehand."""

    accepted: Collection[str] = ()

    def resume(self, *given: Any, **named: Any) -> ResumeReport:
        """Continue the run, or begin one; see `Run.resume`."""
        return super().resume(*given, **{"accept": self.accepted, **named})

    def begin(self) -> None:
        """Resume the run."""
        self._ready()

    def batches_of_loader(self) -> Iterator[Any]:
        """Yield what is left of the epoch, to a loop over the loader itself."""
        return self._started("loader", None)


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
        self._run: ProtectedRun | None = None
        self._loader: Found | None = None
        self._found = FoundObjects()
        self._patches: Patches | None = None
        self._out: weakref.ref[Iteration] | None = None
        self._elsewhere: weakref.ref[Iteration] | None = None
        self._has_trained = False  # in this round

    def loop(self, rounds: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """Return what the loop goes through: the rounds that are left. Called by the rewritten code.

        Args:
            rounds: Returns what it would go through without us.

        Raises:
            SettingsInvalid: What is there can't be protected.
            RunMisused: A loop was begun before.
        """
        if self._run is not None:
            raise refusals.second_loop(self._source.name)
        variables = self._variables(sys._getframe(1))  # noqa: SLF001  # the only way to them
        run = self._open(variables)
        if self._loader is None:
            return self._steps(run, rounds())
        if is_over(self._source.loop, self._loader, variables):
            return self._one_pass(run, rounds())
        return self._epochs(run, rounds())

    def close(self) -> None:
        """Close the run, and put every class back as it was."""
        if self._patches is not None:
            self._patches.take_off()
        tell_no_more(self)
        if self._run is None:
            be_heard()
            _log.warning(
                "[Protect] The loop of %s in line %d was never begun: nothing was saved.",
                self._source.name,
                self._source.loop.lineno,
            )
        else:
            self._run.close()

    def _variables(self, frame: FrameType) -> dict[str, Any]:
        """Return what the code that trains can name, but for what we put there."""
        names = self._source.names
        is_module = frame.f_locals is frame.f_globals
        own = {n: each for n, each in frame.f_locals.items() if n in names or not is_module}
        used = {n: each for n, each in frame.f_globals.items() if n in names and n not in own}
        return {n: each for n, each in {**own, **used}.items() if each is not self}

    def _open(self, variables: Mapping[str, Any]) -> ProtectedRun:
        found = self._found = find(variables)
        if not found.optimizers:
            raise refusals.no_optimizer()
        require_no_iterator(self._source.loop, variables)
        self._loader = chosen_loader(found.loaders, variables, self._source.loop, self._data)
        data = None if self._loader is None else self._loader.value
        drawn = {id(each) for each in generators_in(data)}  # they are set for each sample
        found.parts = [each for each in found.parts if id(each.value) not in drawn]
        run = ProtectedRun(
            self._directory, data=data, advice=SAY, **_given(found), **self._policies
        )
        run.accepted = self._accept
        self._run = run
        be_heard()
        anew = begun_anew(self._source.loop, variables, found)
        _log.info("%s", table(self._source, self._directory, found, self._loader, anew))
        tell_before(self)
        run.begin()
        if data is not None:
            self._patches = Patches(data, self)
            if run.position.batch:
                self._patches.count_from(run.position.batch, self)
        return run

    def _steps(self, run: ProtectedRun, rounds: Iterable[Any]) -> Iterator[Any]:
        """Yield the rounds of a loop that draws its own batches: each is a step."""
        until = _length(rounds)
        values, steps = iter(rounds), run.iterations(until)
        _drop(values, run.position.step)
        for _ in steps:
            if (value := next(values, _END)) is _END:
                return
            yield value

    def _one_pass(self, run: ProtectedRun, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches of a loop that goes through its loader once."""
        for _ in run.epochs(1):
            yield from batches

    def _epochs(self, run: ProtectedRun, rounds: Iterable[Any]) -> Iterator[Any]:
        """Yield the rounds of a loop over epochs."""
        until = _length(rounds)
        values, epochs = iter(rounds), run.epochs(until)
        _drop(values, run.position.epoch)
        changed = ChangedInPlain(self._found, run.state)
        for _ in epochs:
            if (value := next(values, _END)) is _END:
                return
            self._has_trained = False
            yield value
            self._require_trained()
            changed.after_round()

    def _require_trained(self) -> None:
        assert self._loader is not None
        if not self._has_trained:
            raise refusals.nothing_trained(self._loader.expression)
        out = _alive(self._out)
        if out is not None and not out.is_done:
            raise refusals.kept_iterator(self._loader.expression)

    def batches_for(self, iteration: Iteration) -> Iterator[Any] | None:
        """Return the run's batches, for a loop that trains on them; None for any other."""
        run, loader = self._run, self._loader
        if run is None or loader is None or iteration.loader is not loader.value:
            return None
        is_second = self._has_trained
        is_measured = not torch.is_grad_enabled() or (is_second and not self._is_training())
        if is_measured:
            return None
        if is_second:
            raise refusals.second_pass(loader.expression)
        self._out = weakref.ref(iteration)
        self._has_trained = True
        return run.batches_of_loader()

    def next_of(self, batches: Iterator[Any]) -> Any:
        """Return the next of the run's batches."""
        with self._reading():
            batch = next(batches)
        self.handed_out += 1
        if self._patches is not None and self.handed_out == 1:
            self._patches.stop_counting()
        return batch

    def is_asked_elsewhere(self, iteration: Iteration) -> None:
        """Take in that a batch is read that isn't the run's.

        Raises:
            RunMisused: It is read along with the run's, from one to the next.
        """
        self._elsewhere = weakref.ref(iteration)
        run, loader, out = self._run, self._loader, _alive(self._out)
        if run is None or loader is None or out is None or out.is_done:
            return
        if torch.is_grad_enabled():
            iteration.steps.add(run.position.step)
        if len(iteration.steps) > 1:
            raise refusals.read_along(self._name_of(iteration), loader.expression)

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse an update on batches that aren't the run's.

        Raises:
            RunMisused: It is one.
        """
        if not any(each.value is optimizer for each in self._found.optimizers):
            return
        out, elsewhere = _alive(self._out), _alive(self._elsewhere)
        is_ours = out is not None and not out.is_done
        if is_ours or elsewhere is None or elsewhere.is_done or self._loader is None:
            return
        raise refusals.trained_elsewhere(self._name_of(elsewhere), self._loader.expression)

    def _name_of(self, iteration: Iteration) -> str:
        named = (each.expression for each in self._found.loaders if each.value is iteration.loader)
        return next(named, "another loader")

    def _is_training(self) -> bool:
        return any(each.value.training for each in self._found.models)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self.is_reading = True
        try:
            yield
        finally:
            self.is_reading = False


def _given(found: FoundObjects) -> dict[str, Any]:
    """Return what was found as arguments of `Run`: one object alone, several as a dict."""
    roles = {"model": found.models, "optimizer": found.optimizers, "scaler": found.scalers}
    given: dict[str, Any] = {each.name: each.value for each in found.parts}
    for role, several in roles.items():
        alone = several[0].value if len(several) == 1 else None
        given[role] = alone if len(several) < 2 else {each.name: each.value for each in several}
    if given["model"] is None:
        given["model"] = {}
    return given


def _length(rounds: Any) -> int:
    """Return how many rounds a loop has; without an end, more than any."""
    try:
        return len(rounds)
    except TypeError:
        return sys.maxsize


def _drop(values: Iterator[Any], done: int) -> None:
    for _ in range(done):
        next(values, None)


def _alive(iteration: weakref.ref[Iteration] | None) -> Iteration | None:
    return None if iteration is None else iteration()
