"""`protect`: one line before `trainer.train()`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from unbroken.errors import RunMisused, SettingsInvalid
from unbroken.integrations.transformers import of_trl
from unbroken.integrations.transformers.needed_names import require_supported
from unbroken.integrations.transformers.protected import ProtectedTraining
from unbroken.integrations.transformers.protection import Protection
from unbroken.integrations.transformers.refused import require_can_be_protected
from unbroken.integrations.transformers.source import Options
from unbroken.run.monitor import OnDiverged
from unbroken.run.run import Run

AnyTrainer = TypeVar("AnyTrainer")


def protect(  # noqa: PLR0913  # each argument is one policy of the run
    trainer: AnyTrainer,
    *,
    accept: Collection[str] = (),
    begin_anew: bool = False,
    parts: Mapping[str, Any] | None = None,
    save_every: int = 0,
    save_minutes: float = 0.0,
    keep: int = 3,
    grace_seconds: float = 60.0,
    stop_file: Path | None = None,
    stop_signals: Collection[int | str] = (),
    on_diverged: OnDiverged = "stop",
) -> AnyTrainer:
    """Make the next `trainer.train()` one that can be stopped at any moment and continued exactly.

    `train()` and `train(resume_from_checkpoint=True)` go on from the newest state that is whole, and
    begin where there is none. Nothing is written before `train()`.

    Args:
        trainer: A `transformers.Trainer`, or one of a derived class, that was not trained yet.
        accept: Ids of checks whose difference is meant.
        begin_anew: Begin a new run; the one in the directory is moved to `unbroken/earlier/`.
        parts: Further objects with `state_dict()` and `load_state_dict()`, or random generators, by
            name: what callbacks or a derived class keep, such as an average of the weights.
        save_every: Save after every so many steps, beside the trainer's own saves; 0 for never.
        save_minutes: Save when so many minutes have passed; 0 for never.
        keep: How many of the newest states stay. The trainer's folders follow `save_total_limit`.
        grace_seconds: Time from a stop request until the process must be gone.
        stop_file: A file whose existence asks for a stop.
        stop_signals: Signals that ask for a stop beside SIGTERM, SIGINT, SIGUSR1 and SIGHUP.
        on_diverged: Whether to stop or to go on when a repeated step comes out otherwise.

    Returns:
        The trainer.

    Raises:
        SettingsInvalid: It is no `Trainer`, its version or one of its arguments isn't supported, or
            several processes train; or a part has a name that is taken.
        RunMisused: It was trained or protected already.
    """
    import transformers  # the only module that may be missing

    _require_trainer(trainer, transformers.Trainer)
    require_supported(transformers.__version__, transformers.Trainer)
    require_can_be_protected(trainer, os.environ)
    options = Options(
        accept=accept,
        begin_anew=begin_anew,
        parts={**of_trl.parts_of(trainer), **_named_otherwise(parts or {})},
        save_every=save_every,
        save_minutes=save_minutes,
        keep=keep,
        grace_seconds=grace_seconds,
        stop_file=stop_file,
        stop_signals=stop_signals,
        on_diverged=on_diverged,
    )
    _protect(trainer, options, transformers.TrainerCallback)
    return trainer


def _named_otherwise(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parts, unless one has the name of something that the run has already."""
    taken = sorted({*inspect.signature(Run).parameters, "trainer"} & set(parts))
    if taken:
        raise SettingsInvalid(
            f"protect(parts=) has {', '.join(taken)}.",
            "Something of the trainer's has that name in the run.",
            "Give the part another name.",
        )
    return dict(parts)


def _require_trainer(trainer: Any, trainer_class: Any) -> None:
    if isinstance(trainer, ProtectedTraining):
        raise RunMisused(
            "protect() was called a second time with the same Trainer.",
            "Each step would be counted twice.",
            "Call it once, before trainer.train().",
        )
    if not isinstance(trainer, trainer_class):
        raise SettingsInvalid(
            f"protect() was given a {type(trainer).__name__}.",
            "It extends the methods of transformers.Trainer, which this object has not.",
            "Give the Trainer; a loop of your own is protected by unbroken.Run.",
        )


def _protect(trainer: Any, options: Options, callback_class: Any) -> None:
    own = type(trainer)
    trainer.unbroken = guard = Protection(trainer, options)
    trainer.__class__ = type(own.__name__, (ProtectedTraining, own), {"__module__": own.__module__})

    class BeginsWithTheLoop(callback_class):  # type: ignore[misc]  # known only where it is installed
        """Tells the run where the trainer's loop is, before other callbacks act."""

        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            """Let the loop's sums go on."""
            guard.put_back_sums()

        def on_epoch_begin(self, *_args: Any, **_kwargs: Any) -> None:
            """Enter the epoch."""
            guard.begin_epoch()

    trainer.callback_handler.callbacks.insert(0, BeginsWithTheLoop())
