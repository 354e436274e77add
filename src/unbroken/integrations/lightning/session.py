"""One `trainer.fit` under protection: the order of events.

1. When the fit is set up, the loaders of the program are put behind ours (`prepare`).
2. When its loop begins, the run is resumed: weights, moments, counters, callbacks (`fit`).
3. Lightning begins as it always does: hooks at the start of the training and of the epoch, sanity check.
4. When it asks for the first batch, what that beginning changed is put back: the checkpoint was saved
   after it. From then on every batch that it asks for is a step of the run (`next_batch`).
5. When training ends, the last batch is counted and the run is saved, before `on_train_end` of others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from unbroken.errors import Stopped
from unbroken.integrations.lightning.facts import ADVICE, CHECKS, MAY_CHANGE, facts_of
from unbroken.integrations.lightning.loaders import TrainingData
from unbroken.integrations.lightning.refusals import fitted_twice, require_fit
from unbroken.integrations.lightning.train_loader import TrainLoader
from unbroken.integrations.lightning.trainer_state import CallbackState, LoopState, averages_of
from unbroken.integrations.lightning.validation import Validation
from unbroken.integrations.lightning.written_files import WrittenFiles
from unbroken.run.by_itself import be_heard, lines_of
from unbroken.run.run import Run
from unbroken.run.source import ResumeSource, find_source

_log = logging.getLogger("unbroken")


class ProtectedFit:
    """Has the batches of a fit come from a run.

    Args:
        trainer: The trainer.
        directory: Where everything of the run lies.
        accept: Ids of checks whose difference is meant.
        parts: Further parts of the run, by name.
        settings: Further arguments of `Run`.
    """

    def __init__(
        self,
        trainer: Any,
        directory: Path,
        accept: tuple[str, ...],
        parts: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        self._trainer = trainer
        self.directory = directory
        self._accept = accept
        self._parts = parts
        self._settings = settings
        self._source: ResumeSource | None = None
        self._run: Run | None = None
        self._loops = LoopState(lambda: trainer)
        self._callbacks = CallbackState(lambda: trainer, lambda: trainer.lightning_module)
        self._data: TrainingData | None = None
        self._files = WrittenFiles(directory)
        self._is_to_put_back = False
        self.is_training = False
        """Whether there was something left to train."""
        self.seed = 0
        """The run's, from the beginning of the fit on."""

    def prepare(self) -> None:
        """Put the loaders of the program behind ours, before Lightning asks for them.

        Raises:
            RunMisused: It is the second fit.
        """
        if self._source is not None:
            raise fitted_twice()
        loop = self._trainer.fit_loop
        source = loop._data_source  # noqa: SLF001  # in the table of private names
        given = source.dataloader
        source.dataloader = lambda: self._train_loader(given)
        loop.run = _around(self.fit, loop.run)
        Validation(self._trainer, self).attach()
        self._source = find_source(self.directory, "auto")
        self._files.place_callbacks(self._trainer.checkpoint_callbacks)

    def begin(self) -> None:
        """Refuse what can't be resumed; leave out the sanity check where a run goes on.

        That check belongs before the first step: it would act on what was restored.

        Raises:
            SettingsInvalid: The fit can't be resumed.
        """
        module = self._trainer.lightning_module
        require_fit(self._trainer, module, signature(module.training_step).parameters)
        given = self._settings.get("seed")
        self.seed = torch.initial_seed() if given is None else given
        if self._source is not None and self._source.checkpoint is not None:
            self._trainer.num_sanity_val_steps = 0

    def _train_loader(self, given: Callable[[], Any]) -> TrainLoader:
        if self._data is None:
            self._data = TrainingData(given(), self._trainer.limit_train_batches)
        return TrainLoader(self._data, self)

    def fit(self, go: Callable[[], None]) -> None:
        """Resume the run, train, and close it."""
        trainer = self._trainer
        trainer.fit_loop.setup_data()
        if self._data is None or not self._data.length:
            go()  # there is nothing to train
            return
        run = self._run = self._new_run()
        try:
            report = run.resume(self._source or "auto", accept=self._accept)
            be_heard()
            for line in lines_of(report):
                _log.info("%s", line)
            self._is_to_put_back = self._loops.is_in_epoch
            self._files.go_on_from(run.position.step, trainer.checkpoint_callbacks)
            with run.stop.listening():
                go()
                if (
                    not self.is_training
                ):  # the end of the training is done anew: it may have been cut off
                    run.monitor.nothing_to_train()
                    trainer.fit_loop.on_run_end()
        except Stopped as stopped:
            _log.warning("%s", stopped)
            raise
        finally:
            self._files.close()
            run.close()

    def _new_run(self) -> Run:
        trainer, module = self._trainer, self._trainer.lightning_module
        settings = {**self._settings, "seed": self.seed}
        facts = {**facts_of(trainer), **settings.pop("facts", {})}
        may_change = [*MAY_CHANGE, *settings.pop("may_change", ())]
        checks = [*CHECKS, *settings.pop("checks", ())]
        advice = {**ADVICE, **settings.pop("advice", {})}
        schedules = [each.scheduler for each in trainer.lr_scheduler_configs]
        return Run(
            self.directory,
            data=self._data,
            model=module,
            optimizer=_numbered("optimizer", trainer.optimizers),
            scheduler=_numbered("scheduler", schedules),
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            facts=facts,
            may_change=may_change,
            checks=checks,
            advice=advice,
            **settings,
            **averages_of(trainer),
            **self._parts,
            callbacks=self._callbacks,
            lightning=self._loops,
        )

    def next_batch(self) -> Any:
        """Return the next batch of Lightning's epoch.

        Raises:
            StopIteration: The epoch has no more.
            Stopped: A stop was asked for and the run saved.
        """
        run, loop = self._run, self._trainer.fit_loop
        assert run is not None
        if self._is_to_put_back:
            self._is_to_put_back = False
            for part in (self._loops, self._callbacks):
                part.put_back()
            run.undo_beginning()
            for part in (self._loops, self._callbacks):
                part.forget()
            loop._data_fetcher.fetched = loop.epoch_loop.batch_progress.current.ready  # noqa: SLF001  # in the table
        self._loops.is_in_epoch = True
        taken = run.next_batch(self._trainer.current_epoch)
        if taken is None:
            raise StopIteration
        return taken[0]

    def batch_done(self, outputs: Any) -> None:
        """Note the loss of a batch for the journal."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self._run is not None and isinstance(loss, torch.Tensor) and loss.numel() == 1:
            self._run.log(loss=loss)

    def training_ends(self) -> None:
        """Count the last batch and save, before anything acts on what was trained."""
        assert self._run is not None
        self._loops.is_in_epoch = False
        self._run.end_batches()

    def writes(self, path: str) -> None:
        """Note a file that Lightning is about to write."""
        self._files.note(path, self.step)

    @property
    def step(self) -> int:
        """Batches that were trained; 0 before the run is resumed."""
        return 0 if self._run is None else self._run.position.step


def _around(
    fit: Callable[[Callable[[], None]], None], go: Callable[[], None]
) -> Callable[[], None]:
    return lambda: fit(go)


def _numbered(name: str, objects: list[Any]) -> dict[str, Any]:
    return {f"{name}{i or ''}": each for i, each in enumerate(objects)}
