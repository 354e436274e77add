"""What a protected fit refuses, by name, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from unbroken.errors import RunMisused, SettingsInvalid

SETTINGS: Final = frozenset(
    {
        "advice",
        "checks",
        "data_repeats",
        "facts",
        "frozen",
        "grace_seconds",
        "keep",
        "keep_every",
        "max_lost_minutes",
        "may_change",
        "on_diverged",
        "save_every",
        "save_minutes",
        "seed",
        "stop_after",
        "stop_file",
        "stop_signals",
    }
)
"""Arguments of `Run` that `protect` hands on."""

CALLBACKS: Final[Mapping[str, tuple[str, str]]] = {
    "StochasticWeightAveraging": (
        "It puts another schedule in the place of the program's in the middle of the training.",
        "Use WeightAveraging, whose state is saved.",
    ),
    "LearningRateFinder": (
        "It trains by itself before the training.",
        "Find the rate in a program of its own, and give it to the module.",
    ),
    "BatchSizeFinder": (
        "It trains by itself before the training.",
        "Find the size in a program of its own, and give it to the loader.",
    ),
}
"""Callbacks that can't be resumed: why, and what to do."""


TAKEN: Final = re.compile(
    r"(model|optimizer|scheduler|average_model)\d*|scaler|callbacks|lightning"
)
"""Names of parts that a fit has already."""


def require_settings(settings: Mapping[str, Any], parts: Collection[str]) -> None:
    """Refuse arguments that nobody knows, and parts under names that are taken.

    Raises:
        SettingsInvalid: There is one.
    """
    for name in sorted(each for each in parts if TAKEN.fullmatch(each) or each in SETTINGS):
        raise SettingsInvalid(
            f"protect(parts=...) names a part {name!r}.",
            "What the trainer has is a part of the run by itself; this name is taken.",
            "Give it another name, or leave it out where the trainer has it.",
        )
    for name in sorted(settings.keys() - SETTINGS):
        raise SettingsInvalid(
            f"protect() was given {name}=.",
            "It hands on to unbroken.Run what doesn't come from the trainer; this is nothing of that.",
            f"Give one of {', '.join(sorted(SETTINGS))}; further parts as parts={{...}}.",
        )


def require_protectable(trainer: Any, is_protected: bool) -> None:
    """Refuse a trainer that can't be protected.

    Raises:
        RunMisused: It is protected already, or has run.
        SettingsInvalid: It trains in a way that can't be resumed.
    """
    if is_protected:
        raise RunMisused(
            "protect() was called twice on one trainer.",
            "Two runs would save the same training, each without the other's batches.",
            "Call it once, before trainer.fit().",
        )
    if trainer.state.fn is not None or trainer.global_step:
        raise _has_run(
            f"protect() was called on a trainer that has run {trainer.state.fn.value}()."
        )
    processes = trainer.num_nodes * trainer.num_devices
    kind = type(trainer.strategy).__name__
    if processes > 1 or trainer.world_size > 1 or kind != "SingleDeviceStrategy":
        raise SettingsInvalid(
            f"The trainer has {trainer.num_devices} devices on {trainer.num_nodes} nodes, by its "
            f"{kind}.",
            "A run is one process on one device: the state of others would be in no checkpoint.",
            "Give Trainer(devices=1, num_nodes=1) without a strategy, or train without protect().",
        )
    for name, value in (
        ("overfit_batches", trainer.overfit_batches),
        ("reload_dataloaders_every_n_epochs", trainer.reload_dataloaders_every_n_epochs),
    ):
        if value:
            raise SettingsInvalid(
                f"The trainer has {name}={value}.",
                "Lightning then puts other loaders in the place of those that the run's order is of.",
                f"Leave {name} out, or train without protect().",
            )


def require_fit(trainer: Any, module: Any, signature: Collection[str]) -> None:
    """Refuse a fit that can't be resumed, once all of it is known and nothing is trained.

    Args:
        trainer: The trainer.
        module: The module.
        signature: Names of the arguments of its `training_step`.

    Raises:
        SettingsInvalid: It restores by itself, reads by itself, or has a callback that can't be resumed.
    """
    given = trainer.ckpt_path
    if given is not None or trainer._checkpoint_connector._loaded_checkpoint:  # noqa: SLF001  # in the table
        raise SettingsInvalid(
            f"trainer.fit() is to restore the checkpoint {given}.",
            "The run restores its own, which has more; after both, neither would be what was saved.",
            "Leave out ckpt_path: the same program started again goes on by itself. For a new run "
            "from these weights, build the module with load_from_checkpoint().",
        )
    if "dataloader_iter" in signature:
        raise SettingsInvalid(
            f"{type(module).__name__}.training_step() takes dataloader_iter.",
            "It reads its batches itself, so nobody knows which were trained.",
            "Have it take batch and batch_idx.",
        )
    for each in trainer.callbacks:
        for kind in type(each).__mro__:
            if kind.__name__ in CALLBACKS and kind.__module__.startswith("lightning."):
                why, remedy = CALLBACKS[kind.__name__]
                raise SettingsInvalid(
                    f"The trainer has the callback {type(each).__name__}.", why, remedy
                )


def fitted_twice() -> RunMisused:
    """Return the error of a second fit."""
    return _has_run("trainer.fit() was called a second time on a protected trainer.")


def _has_run(what: str) -> RunMisused:
    return RunMisused(
        what,
        "Counters and state of the earlier call stay in the trainer, and no other start would have them.",
        "Make a new Trainer, protect it, and call fit() once; another fit has a directory of its own.",
    )
