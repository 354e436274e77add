"""The public object: a directory, the parts of a training run, and its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint.layout import Layout
from unbroken.checks import Advice, Check, Decision, Report
from unbroken.errors import SaveFailed
from unbroken.loaders.found_generators import generators_in
from unbroken.loop.due import SaveDue
from unbroken.loop.stop import StopRequest
from unbroken.order.step_batches import StepBatches
from unbroken.ranks.group import ranks_here
from unbroken.run import misuse
from unbroken.run.agreement import Agreement
from unbroken.run.batch_loop import BatchLoop
from unbroken.run.by_itself import resume_by_itself
from unbroken.run.data import keep_lists, order_of, parts_of, policy_of
from unbroken.run.ending import Ending, RunPhase
from unbroken.run.epoch_work import EpochWork
from unbroken.run.foreign_beginning import begin_at
from unbroken.run.goal_state import GoalState
from unbroken.run.loader_loops import LoaderLoops
from unbroken.run.loops import Loops
from unbroken.run.monitor import OnDiverged, ResumeMonitor
from unbroken.run.objects import gather
from unbroken.run.open import OpenRun, open_run
from unbroken.run.plan import Retention, RunPlan
from unbroken.run.probe import Probe
from unbroken.run.program_draws import ProgramDraws
from unbroken.run.restored import ResumedBeginning
from unbroken.run.resume import ResumeReport, ResumeSource
from unbroken.run.shared_start import source_for
from unbroken.run.step import Step
from unbroken.state.position import Position
from unbroken.trackers.tracker import Tracker
from unbroken.trackers.tracking import require_trackers


class Run(LoaderLoops):
    """A training run that can be stopped at any moment and continued exactly.

    Args:
        directory: Where everything of the run lies.
        data: The loader that a loop over `run.batches()` reads: a `DataLoader`, or any iterable that
            begins anew each epoch. With neither `data` nor `order` the loop draws its own batches.
        batches_per_step: Batches of `data` that make a step; `run.batches()` then yields each
            step's as a list. None for one, as it is.
        order: The step batches of a loop over `run.steps()`.
        model: A module, or a dict of modules by part name.
        optimizer: An optimiser, or a dict of them.
        scheduler: Something with `step()` and `state_dict()`, or a dict; `step.update()` steps it,
            and without `order` the loop.
        scaler: A gradient scaler; None for none.
        facts: What the run is made of; paths are compared by content.
        may_change: Names of facts whose change is only noted at a resume.
        checks: Checks of one's own, made beside the library's at each resume.
        advice: What a finding should say instead of the check's own words, by the check's id.
        save_every: Save after every so many steps; 0 for never by steps.
        save_minutes: Save when so many minutes have passed; 0 for never by time.
        keep: How many of the newest checkpoints stay.
        keep_every: Those at multiples of so many steps stay as well; 0 for none.
        best_by: The metric (lower is better) whose best checkpoint stays as well; None for none.
        max_lost_minutes: Minutes of work that may be at risk while saving fails.
        grace_seconds: Time from a stop request until the process must be gone.
        stop_file: A file whose existence asks for a stop.
        stop_after: Time from now on after which the run saves and stops, such as `"1h50m"` or seconds: a
            job that ends at a limit ends whole. `grace_seconds` before the limit are enough.
        stop_signals: Signals that ask for a stop beside the usual four, such as `["SIGUSR2"]`.
        requested_facts: Facts as they were asked for, where saved ones act.
        frozen: Tensors by leaf path, or ranges of their rows, that nothing may move.
        probe: A small batch whose losses are compared at every resume; None for none.
        on_diverged: Whether to stop or to go on when a repeated step comes out otherwise.
        overlap: Copy what only optimisers change beside the next forward pass; see docs/checkpoints.md.
        seed: What all randomness of the steps derives from; None for the order's seed, or for that
            of `torch.manual_seed`.
        data_repeats: Whether a batch that is read again must hold the same.
        trackers: Where the numbers of each step are shown, such as `[unbroken.tracker("wandb")]`.
        parts: Further objects with `state_dict()` and `load_state_dict()`, by name.

    Raises:
        NotEncodable: A part can't be saved, or two have the same name.
        SettingsInvalid: A fact's file, a check, a signal, a tracker, the seed, the loader or the
            number of its batches can't be used.
        RunMisused: Both `data` and `order` are given.
    """

    optimizers: list[torch.optim.Optimizer]
    """The optimisers that `step.update()` updates with, in this order."""
    schedulers: list[Any]
    """What is moved on with each update."""
    _opened: OpenRun | None = None
    _is_open = False

    def __init__(  # noqa: PLR0913  # the screen of use: each argument is one part or one policy
        self,
        directory: Path | str,
        *,
        data: Any = None,
        batches_per_step: int | None = None,
        order: StepBatches | None = None,
        model: Any,
        optimizer: Any,
        scheduler: Any = None,
        scaler: torch.amp.GradScaler | None = None,
        facts: Mapping[str, Any] | None = None,
        may_change: Sequence[str] = (),
        checks: Sequence[Check] = (),
        advice: Mapping[str, Advice] | None = None,
        save_every: int = 1000,
        save_minutes: float = 0.0,
        keep: int = 3,
        keep_every: int = 0,
        best_by: str | None = "val_loss",
        max_lost_minutes: float = 60.0,
        grace_seconds: float = 60.0,
        stop_file: Path | None = None,
        stop_after: str | float | None = None,
        stop_signals: Collection[int | str] = (),
        requested_facts: Mapping[str, Any] | None = None,
        frozen: Mapping[str, slice | None] | None = None,
        probe: Probe | None = None,
        on_diverged: OnDiverged = "stop",
        overlap: bool = False,
        seed: int | None = None,
        data_repeats: bool = True,
        trackers: Sequence[Tracker] = (),
        **parts: Any,
    ) -> None:
        self.layout, self._data = Layout(Path(directory)), data
        self._order, batches = order_of(order, data, seed, data_repeats, batches_per_step)
        self.updater, self.inspector = gather(
            order=self._order, batches=batches, model=model, optimizer=optimizer, scheduler=scheduler,
            scaler=scaler, parts={**parts, **parts_of(batches)}, facts=facts,
            requested_facts=requested_facts, frozen=frozen, probe=probe, seed=seed,
        )  # fmt: skip
        self.state, self._epoch_work = self.inspector.state, EpochWork()
        self.optimizers, self.schedulers = self.updater.optimizers, self.updater.schedulers
        self.due = SaveDue(every=save_every, minutes=save_minutes, max_lost_minutes=max_lost_minutes)  # fmt: skip
        self.stop, self.metrics = StopRequest(stop_file, stop_signals, stop_after), {}
        agreement = Agreement(self.stop, self.due, self.inspector)
        self._plan = RunPlan(
            inspector=self.inspector, updater=self.updater, due=self.due,
            retention=Retention(keep, keep_every, best_by), grace_seconds=grace_seconds,
            on_diverged=on_diverged, overlap=overlap, trackers=require_trackers(trackers), agreement=agreement,
        )  # fmt: skip
        self.beginning = ResumedBeginning(self.inspector, self._epoch_work)
        self._policy = policy_of(batches, may_change, checks, advice)
        self._ending = Ending(
            self.stop, grace_seconds, self.state, self._save_until, self.note, agreement)  # fmt: skip
        self._loops = Loops(self, self.stop, self._ending, self._epoch_work, GoalState(self.state), self._save_until)  # fmt: skip
        self._batch_loop = None if batches is None else BatchLoop(
            self, self._loops, self._epoch_work, batches, self.updater)  # fmt: skip

    @property
    def order(self) -> StepBatches:
        """The step batches, of a run that was made with `order`.

        Raises:
            RunMisused: It was not.
        """
        if not isinstance(self._order, StepBatches):
            raise misuse.no_step_batches()
        return self._order

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.state.position

    @property
    def facts(self) -> dict[str, Any]:
        """What the run is made of."""
        return self.inspector.facts

    @property
    def run_id(self) -> str:
        """The run's name for itself; empty before `resume`."""
        return self._opened.run_id if self._opened else ""

    @property
    def monitor(self) -> ResumeMonitor:
        """What the steps after a resume prove, and what was seen of them."""
        return misuse.opened(self._opened).monitor

    def resume(
        self,
        how: str | ResumeSource = "auto",
        *,
        accept: Collection[str] = (),
        confirm: Callable[[Report, Decision], bool] | None = None,
    ) -> ResumeReport:
        """Continue the run that stands in the directory, or begin one.

        Args:
            how: `auto`, `latest`, the path of a checkpoint of this run, the empty text for a new
                run, or a source that `unbroken.find_source` found.
            accept: Ids of checks whose difference is meant.
            confirm: Asks a person, where a critical difference has a saved value that can act.

        Raises:
            ResumeRefused: Something critical differs; its `report` says what. Nothing was changed.
            NoUsableCheckpoint: What was asked for isn't there, or nothing is whole.
            DirectoryInUse: Another process writes to the run. Nothing was changed.
        """
        ranks = ranks_here()
        source = source_for(ranks, self.layout, how, may_move=self._plan.may_move)
        self.layout = source.layout
        keep_lists(self._order, self.layout)
        policy = replace(self._policy, accept=accept, confirm=confirm)
        self._opened = opened = open_run(self._plan, source, policy, ranks)
        self._is_open = True
        if self._batch_loop is not None and (saved := opened.restored.saved) is not None:
            self._batch_loop.is_resumed(saved, self.inspector, policy)
        self.metrics, self.beginning.restored = dict(opened.metrics), opened.restored.live
        return opened.report

    def begin_at(self, position: Position) -> None:
        """Let a run that has just begun stand where a training of another program stood.

        Call it after `resume`, with that training's weights, moments and counters in the objects.

        Raises:
            RunMisused: The run was resumed, or has trained.
            SettingsInvalid: The order has no such place, or the counters contradict each other.
        """
        begin_at(position, self.state, self._order, self._ready())

    @property
    def _open(self) -> OpenRun:
        return misuse.opened(self._opened, is_open=self._is_open)

    def note(self, event: str, **details: Any) -> None:
        """Write a line into the run's history."""
        self._open.record.note(event, **details)

    def epochs(self, until: int) -> Iterator[int]:
        """Yield the numbers of the epochs, from 0, from the run's position on, until `until` are done.

        The body trains the epoch's steps with `for step in run.steps():` and then does the epoch's
        work: a validation, a schedule by epochs. No checkpoint is saved before that work is done. A
        resume inside an epoch gives out that epoch again, with the steps that are left of it; what
        the body changes before its first step is undone there, for it acted before the stop.

        Raises:
            Stopped: A stop was asked for and the run saved. Code after the loop runs only when
                `until` was reached.
            StateMismatch: A body left out steps of its epoch.
        """
        return self._loops.epochs(self._ready(), until)

    def steps(self, until: int | None = None) -> Iterator[Step]:
        """Yield the steps from the run's position on.

        Args:
            until: How many steps are then completed since the run began. None for those that are
                left of the epoch, inside `for epoch in run.epochs(...)`.

        Raises:
            Stopped: A stop was asked for and the run saved. Code after the loop runs only when
                `until` was reached.
            SettingsInvalid: It is not said where the steps end.
        """
        return self._loops.steps(self._ready(), until)

    def _ready(self) -> OpenRun:
        if not self.state.is_usable:
            raise misuse.can_not_train()
        if self._opened is None and self._batch_loop is not None:
            self._ending.is_told = True
            closes = resume_by_itself(self, self._order)
            self._open.tracking.at_exit = closes
            self._batch_loop.watch(ProgramDraws(self._known_generators()))
        return self._open

    def _known_generators(self) -> list[Any]:
        parts = [getattr(each, "target", None) for each in self.state.parts.values()]
        return [*parts, *generators_in(self._data)]

    def save(self, *, wait: bool = True) -> Path:
        """Save a checkpoint of the present state; return its directory.

        Args:
            wait: Until it is on the disk and verified. Otherwise it is written while training goes
                on, and an error surfaces at the end of the next step.

        Raises:
            SaveFailed: The disk refused, or the work of an epoch, or a batch of `run.batches()`, isn't
                done. Older checkpoints are untouched.
        """
        self._epoch_work.require_done(self.position)
        if self._batch_loop is not None:
            self._batch_loop.require_between()
        return self._open.saves.save(self.metrics, wait=wait)

    def _save_until(self, meanwhile: Callable[[SaveFailed], None]) -> Path:
        """Save until it succeeds; call `meanwhile` with what went wrong while waiting."""
        self.due.until_saved(self.save, meanwhile)
        return self.save()

    def save_in_background(self, *, at_once: bool = False) -> None:
        """Look at the save before, and hand over the next if it is due or wanted `at_once`.

        Asked for in the work at the end of an epoch, or inside a batch of `run.batches()`, it is handed
        over once that is done.

        Raises:
            SaveFailed: More work than `max_lost_minutes` is at risk.
        """
        if self._batch_loop is not None:
            if self._batch_loop.delays_save(at_once=at_once):
                return
            at_once |= self._batch_loop.takes_delayed_save()
        if not self._epoch_work.delays_save(self.position, at_once=at_once):
            self._track_scores()
            self._open.saves.save_if_due(self.metrics, at_once=at_once)

    def close(self) -> None:
        """Wait for the save that is being written, close the journal, give the directory back.

        Steps in no checkpoint are not saved; a warning and the history tell them.

        Raises:
            SaveFailed: That save went wrong.
        """
        if was_open := self._is_open:
            self._track_scores()
        self._is_open = False
        if self._batch_loop is not None:
            self._batch_loop.close()
        if was_open:
            misuse.opened(self._opened).close(is_stopped=self._ending.phase is RunPhase.STOPPING)
