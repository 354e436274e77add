"""The run behind a protected trainer: it holds the state, hands out the batches and honours stops.

The order of events, as the trainer calls:

1. `start`: what the training goes on from is found. `place`: in which epoch.
2. `open`: model, optimizer and schedule exist; the run is made and the state put back.
3. `begin_epoch`; then for each step `next_batches`, `before_micro_batch` and `after_micro_batch` for
   each batch, and `end_step` when the update is made. Checkpoints and stops come between two steps.
4. `end_epoch`, when the evaluation and the log at the epoch's end are done.
5. `finish`: the last state is saved, before the trainer loads its best model into the same weights.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch

from unbroken.checks import Advice
from unbroken.errors import RunMisused
from unbroken.integrations.transformers.folders import TrainerFolders
from unbroken.integrations.transformers.progress import SilentCallbacks, TrainerProgress
from unbroken.integrations.transformers.refused import require_can_be_protected
from unbroken.integrations.transformers.run_facts import facts_of
from unbroken.integrations.transformers.source import Options, source_of
from unbroken.integrations.transformers.trainer_saves import TrainerSaves
from unbroken.loop.isolation import isolated
from unbroken.replay.replay import ReplayVerdict
from unbroken.run.by_itself import resume_by_itself
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.resume import ResumeReport, ResumeSource
from unbroken.run.run import Run
from unbroken.state.mix import mix64

FOLDER: Final = "unbroken"
"""The run's directory in the trainer's output directory."""
EVALUATION: Final = 0x4556414C
"""Sets the seeds of evaluations apart from all others."""
SAY: Final = {
    "order-unchanged": Advice(
        remedy="Give TrainingArguments the run's seed, and what else decides its sampler "
        "(such as group_by_length).",
    ),
    "settings-unchanged": Advice(
        cause="The TrainingArguments are not those that the run began with.",
        remedy="Give the run's TrainingArguments again, or use the new ones with "
        'protect(trainer, accept=["settings-unchanged"]).',
    ),
    "other-facts-unchanged": Advice(
        cause="Model, tokenizer, evaluation data, collator or callbacks were built otherwise.",
        remedy="Build them as the run did, or use the new ones with "
        'protect(trainer, accept=["other-facts-unchanged"]).',
    ),
    "data-set-unchanged": Advice(
        cause="The Trainer was given another train_dataset, or its files were edited.",
        remedy="Give the run's data, or begin a new run from its weights in another output_dir.",
    ),
}

_log = logging.getLogger("unbroken")


@dataclass(slots=True)
class _Step:
    """What the trainer has done of its present step."""

    batches: int = 0
    """Batches that went forward and backward."""
    loss: Any = 0.0
    """The sum of their losses."""


class Protection:
    """Belongs to one trainer, for one call of `train`.

    Args:
        trainer: A `transformers.Trainer`.
        options: How it is protected.
    """

    def __init__(self, trainer: Any, options: Options) -> None:
        self._trainer = trainer
        self._options = options
        self.directory = Path(trainer.args.output_dir) / FOLDER
        self.folders = TrainerFolders(Path(trainer.args.output_dir))
        self.saves = TrainerSaves(trainer, self.folders)
        self.progress = TrainerProgress(trainer)
        self._silent = SilentCallbacks(trainer)
        self.run: Run | None = None
        self._source: ResumeSource | None = None
        self._epochs: Generator[int] | None = None
        self._batches: Generator[list[Any]] | None = None
        self._is_epoch_over = False
        self.report: ResumeReport | None = None
        """What the last start came to."""
        self._monitor: ResumeMonitor | None = None
        self._step = _Step()
        self._is_save_wanted = False
        self._is_used = False
        self._began = 0.0
        self.seconds_before = 0.0
        """Seconds of training in earlier starts."""
        self._epoch = self._last_epoch = 0

    @property
    def is_open(self) -> bool:
        """Whether the trainer is in `train`, with its state put back."""
        return self.run is not None

    @property
    def verdict(self) -> ReplayVerdict | None:
        """What the steps that were repeated after a resume came to; None where nothing was."""
        return None if self._monitor is None else self._monitor.verdict

    @property
    def _run(self) -> Run:
        assert self.run is not None
        return self.run

    def start(self, resume: object, trial: object) -> None:
        """Find what the training goes on from.

        Args:
            resume: What `train(resume_from_checkpoint=...)` was given.
            trial: Of a search for hyperparameters.

        Raises:
            RunMisused: The trainer was trained already, or this is such a search.
            SettingsInvalid: The trainer can't be protected any more.
            NoUsableCheckpoint: What was named isn't there, or nothing is whole.
        """
        if trial is not None:
            raise RunMisused(
                "train() was called with a trial.",
                "Each trial is another training, and a protected trainer resumes one.",
                "Search without protect(), and protect the training with the values found.",
            )
        if self._is_used:
            raise RunMisused(
                "train() was called a second time on a protected Trainer.",
                "Its model and optimizer are at the end of the first training, not at its beginning.",
                "Build a new Trainer with an output_dir of its own, and protect it.",
            )
        require_can_be_protected(self._trainer, os.environ)  # an argument may be another by now
        self._source = source_of(self.directory, resume, self._options)
        self._is_used = True

    def place(self, epochs: int, steps: int) -> int:
        """Return the epoch that the training goes on in; the number of all where nothing is left.

        Args:
            epochs: Epochs of the whole training.
            steps: Its steps.
        """
        assert self._source is not None
        self._last_epoch = epochs
        saved = self._source.checkpoint
        if saved is None:
            return 0
        is_over = saved.position.step >= steps or saved.part("trainer")["has_ended"]
        return epochs if is_over else saved.position.epoch

    def open(self, loader: Any) -> None:
        """Make the run and put its state into the trainer.

        Args:
            loader: What the trainer reads.

        Raises:
            ResumeRefused: Something is not as it was. Nothing was changed.
        """
        trainer, options = self._trainer, self._options
        facts = facts_of(trainer, self.folders.scratch)
        run = Run(
            self.directory,
            data=getattr(loader, "base_dataloader", loader),
            batches_per_step=trainer.args.gradient_accumulation_steps,
            model=trainer.model,
            optimizer=getattr(trainer.optimizer, "optimizer", trainer.optimizer),
            scheduler=trainer.lr_scheduler,
            scaler=getattr(trainer.accelerator, "scaler", None),
            trainer=self.progress,
            facts=facts,
            may_change=("free",),
            advice=SAY,
            seed=trainer.args.seed,
            save_every=options.save_every,
            save_minutes=options.save_minutes,
            keep=options.keep,
            best_by=None,
            grace_seconds=options.grace_seconds,
            stop_file=options.stop_file,
            stop_signals=options.stop_signals,
            on_diverged=options.on_diverged,
            **options.parts,
        )
        self.run = run
        resume_by_itself(self, run.inspector.order)
        self.folders.sweep()
        self._epochs = cast("Generator[int]", run.epochs(self._last_epoch))

    def resume(self) -> ResumeReport:
        """Continue the run from what `start` found, or begin one."""
        assert self._source is not None
        self.report = self._run.resume(self._source, accept=self._options.accept)
        self._monitor = self._run.monitor
        return self.report

    @property
    def batches_done(self) -> int:
        """Batches that are done of the epoch in which the training goes on."""
        return self._run.position.batch * int(self._trainer.args.gradient_accumulation_steps)

    def put_back_sums(self) -> None:
        """Let the trainer's sums go on; its loop has just begun."""
        self.seconds_before = self.progress.seconds
        self._began = time.monotonic() - self.seconds_before
        self.progress.put_back_sums()
        self._silent.begin()

    def begin_epoch(self) -> None:
        """Enter an epoch; a checkpoint that is due, or a stop, is met before it."""
        assert self._epochs is not None
        self._epoch, self._is_epoch_over = next(self._epochs), False
        self._batches = cast("Generator[list[Any]]", self._run.batches())

    def next_batches(self) -> list[Any]:
        """Return the batches of the next step; none where the epoch has no more."""
        assert self._batches is not None
        self._hand_over_save()
        self._step = _Step()
        return next(self._batches, [])

    def before_micro_batch(self) -> None:
        """Set the randomness of the batch that goes forward next."""
        if self._step.batches:
            self._run.next_of_step()

    def after_micro_batch(self, loss: torch.Tensor) -> None:
        """Take in the loss of a batch that went backward."""
        self._step.batches += 1
        self._step.loss = self._step.loss + loss.detach()
        self._run.log(loss=self._step.loss)

    def end_step(self) -> None:
        """Count the step whose update is made, once.

        Raises:
            Diverged: It was repeated and came out otherwise; the trainer writes nothing of it.
        """
        if self._step.batches:
            self.progress.seconds = time.monotonic() - self._began
            self._run.step_done()
            self._step = _Step()

    def end_epoch(self) -> None:
        """Leave an epoch whose work is done; one that the trainer ends in its midst is left there."""
        self._hand_over_save()
        assert self._batches is not None
        if self._run.position.epoch != self._epoch:
            next(self._batches, None)
            self._is_epoch_over = True
        elif not self._trainer.control.should_training_stop:
            self._batches.close()
            self._is_epoch_over = True

    def want_save(self) -> None:
        """Save at the next place from which the training can go on."""
        self._is_save_wanted = True

    def _hand_over_save(self) -> None:
        wanted, self._is_save_wanted = self._is_save_wanted, False
        if wanted:
            self._silent.tell()
        if wanted and not self._run.stop.is_made:  # after the save of a stop, steps are for proof
            self._run.save_in_background(at_once=True)

    def finish(self, steps: int) -> None:
        """Save the last state, and give the directory back.

        Args:
            steps: Of the whole training.
        """
        run, control = self._run, self._trainer.control
        is_short = run.position.step < steps
        self.progress.has_ended |= bool(control.should_training_stop) and is_short
        if self._is_epoch_over and self._epochs is not None:
            next(self._epochs, None)
        if run.position.step:
            run.save()
        run.monitor.finished()
        self.close()

    def close(self) -> None:
        """Leave the loops, and close the run; a second time does nothing."""
        run, self.run = self.run, None
        if self._batches is not None:
            self._batches.close()
        if self._epochs is not None:
            self._epochs.close()
        self._batches = self._epochs = None
        if run is not None:
            run.close()

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Evaluate inside: with randomness of its own, and nothing of the training changes."""
        position = self._run.position
        seed = mix64(EVALUATION, self._trainer.args.seed, position.step)
        kept = getattr(self._trainer, "_eval_dataloaders", {})
        kept.clear()  # workers that are kept draw on from one evaluation to the next
        with isolated(self._trainer.model, seed=seed):
            yield
