"""The methods of a protected trainer: its own, each extended at the place that `needed_names` tells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from torch.utils.data import DataLoader

from unbroken.errors import Stopped
from unbroken.integrations.transformers.protection import Protection

GOES_ON = "unbroken"
"""Given to the trainer's loop in place of a path: it begins in the middle of an epoch."""

if TYPE_CHECKING:
    _OfTheTrainer: TypeAlias = Any  # what `super()` means is known when a trainer is protected
else:
    _OfTheTrainer = object

_log = logging.getLogger("unbroken")


class ProtectedTraining(_OfTheTrainer):  # type: ignore[misc]  # a trainer of any class
    """Stands before a trainer's class in the order of its bases.

    Every method calls the trainer's own, or that of a class derived from it.
    """

    unbroken: Protection
    args: Any
    state: Any

    def train(
        self, resume_from_checkpoint: Any = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, from the newest state that is whole on; see `transformers.Trainer.train`.

        Raises:
            ResumeRefused: Something is not as it was.
            Stopped: A stop was asked for and the run saved.
        """
        self.unbroken.start(resume_from_checkpoint, trial)
        try:
            return super().train(None, None, *args, **kwargs)
        except Stopped as stopped:
            _log.warning("%s", stopped)
            raise
        finally:
            self.unbroken.close()

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: Any,  # noqa: ARG002  # the run says what is resumed
        trial: Any,
    ) -> tuple[int, int]:
        given = (max_steps, num_update_steps_per_epoch, num_train_epochs)
        super()._init_training_state(*given, None, trial)
        return self.unbroken.place(num_train_epochs, max_steps), 0

    def _prepare_for_training(
        self,
        max_steps: int,
        train_dataloader: Any,
        resume_from_checkpoint: Any,  # noqa: ARG002  # likewise
    ) -> Any:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        self.unbroken.open(train_dataloader)
        return prepared

    def _run_epoch(self, **kwargs: Any) -> Any:
        epoch, done = kwargs["epoch"], self.unbroken.batches_done
        # The trainer reads no loader: get_batch_samples has the run's batches.
        kwargs["train_dataloader"] = DataLoader([])  # type: ignore[arg-type]  # an empty data set
        kwargs["resume_from_checkpoint"] = GOES_ON if done else None
        kwargs["epochs_trained"], kwargs["steps_trained_in_current_epoch"] = epoch, done
        super()._run_epoch(**kwargs)
        self.unbroken.end_epoch()

    def _load_rng_state(self, checkpoint: Any) -> None:
        if not self.unbroken.is_open:
            super()._load_rng_state(checkpoint)

    def get_batch_samples(
        self,
        epoch_iterator: Any,  # noqa: ARG002  # the run has the batches
        num_batches: int,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Return the batches of the next step and what the trainer counts in them."""
        batches = iter(self.unbroken.next_batches())
        return super().get_batch_samples(batches, num_batches, *args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Go forward and backward, with the randomness of the place."""
        self.unbroken.before_micro_batch()
        loss = super().training_step(*args, **kwargs)
        self.unbroken.after_micro_batch(loss)
        return loss

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        self.unbroken.end_step()
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _evaluate(
        self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False
    ) -> dict[str, float]:
        run = self.unbroken.run
        if skip_scheduler and run is not None and run.position.step:
            return {}  # eval_on_start: the training began before
        found: dict[str, float] = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        return found

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate; inside a training nothing of it changes."""
        if not self.unbroken.is_open:
            return super().evaluate(*args, **kwargs)
        with self.unbroken.evaluation():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict; inside a training nothing of it changes."""
        if not self.unbroken.is_open:
            return super().predict(*args, **kwargs)
        with self.unbroken.evaluation():
            return super().predict(*args, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        folders = self.unbroken.folders
        if folders.is_saving:
            return str(folders.hidden)
        found: str = super()._get_output_dir(trial)
        return found

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.unbroken.is_open:
            super()._save_checkpoint(model, trial)
            return
        own = super()._save_checkpoint
        self.unbroken.saves.save(lambda: own(model, trial))
        self.unbroken.want_save()

    def _finalize_training(self, trial: Any, num_train_samples: Any, start_time: float) -> Any:
        before = self.unbroken.seconds_before
        self.unbroken.finish(self.state.max_steps)
        self.unbroken.saves.require_best_whole()
        return super()._finalize_training(trial, num_train_samples, start_time - before)
