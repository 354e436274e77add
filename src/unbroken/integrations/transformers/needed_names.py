"""What the adapter needs of `transformers` that is not public: one table, with the versions it was tried with.

A version that lacks a name, or that was not tried, is refused before anything is protected.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, NamedTuple

from unbroken.errors import SettingsInvalid

OLDEST: Final = (5, 3)
"""The oldest version, by its first two numbers, whose `Trainer` was tried."""
NEWEST: Final = (5, 24)
"""The newest."""


class Needed(NamedTuple):
    """A method of `Trainer`, with what it is called with."""

    name: str
    arguments: tuple[str, ...]
    why: str
    """What the adapter does there."""


METHODS: Final = (
    Needed(
        "_init_training_state",
        ("max_steps", "num_update_steps_per_epoch", "num_train_epochs", "resume_from_checkpoint", "trial"),
        "says in which epoch the training goes on",
    ),
    Needed(
        "_prepare_for_training",
        ("max_steps", "train_dataloader", "resume_from_checkpoint"),
        "model, optimizer and schedule exist after it: the state is put back",
    ),
    Needed(
        "_run_epoch",
        ("train_dataloader", "epoch", "resume_from_checkpoint", "epochs_trained", "steps_trained_in_current_epoch"),
        "begins in the middle of an epoch; after it the epoch's work is done",
    ),
    Needed("_load_rng_state", ("checkpoint",), "does nothing: randomness follows from the position"),
    Needed(
        "_maybe_log_save_evaluate", ("tr_loss",), "an update is made: the step is counted and compared"
    ),
    Needed(
        "_evaluate", ("trial", "ignore_keys_for_eval", "skip_scheduler"), "is not repeated before a resumed step"
    ),
    Needed("_save_checkpoint", ("model", "trial"), "its folder appears when it is complete"),
    Needed("_get_output_dir", ("trial",), "names the hidden folder while it is written"),
    Needed("_finalize_training", ("trial", "num_train_samples", "start_time"), "the last state is saved"),
    Needed("get_batch_samples", ("epoch_iterator", "num_batches", "device"), "hands out the batches of a step"),
    Needed("training_step", ("model", "inputs"), "sets the randomness of each micro-batch"),
    Needed("evaluate", (), "runs with randomness of its own and changes nothing"),
    Needed("predict", (), "likewise"),
)  # fmt: skip
"""Methods that the adapter extends; those without an underscore are public."""

SUMS: Final = {
    "loss": "_tr_loss",
    "total": "_total_loss_scalar",
    "last_logged": "_globalstep_last_logged",
    "flos": "current_flos",
}
"""Attributes of the loop that are saved, under other names: what the next log counts from."""
ATTRIBUTES: Final = (*SUMS.values(), "_eval_dataloaders")
"""All attributes that it must know; the last are loaders whose workers are kept."""


def require_supported(version: str, trainer_class: Any) -> None:
    """Refuse a version of `transformers` whose `Trainer` the adapter doesn't know.

    Args:
        version: Of `transformers`.
        trainer_class: Its `Trainer`.

    Raises:
        SettingsInvalid: It was not tried, or lacks something.
    """
    numbers = tuple(int(each) for each in version.split(".")[:2] if each.isdigit())
    if not OLDEST <= numbers <= NEWEST:
        raise _not_supported(version, "its Trainer was not tried with this adapter")
    for each in METHODS:
        method = getattr(trainer_class, each.name, None)
        if method is None:
            raise _not_supported(version, f"its Trainer has no {each.name}()")
        lacking = set(each.arguments) - set(inspect.signature(method).parameters)
        if lacking:
            raise _not_supported(version, f"{each.name}() takes no {', '.join(sorted(lacking))}")
    source = inspect.getsource(trainer_class)
    for name in ATTRIBUTES:
        if f"self.{name}" not in source:
            raise _not_supported(version, f"its Trainer has no {name}")


def _not_supported(version: str, why: str) -> SettingsInvalid:
    oldest, newest = (".".join(map(str, each)) for each in (OLDEST, NEWEST))
    return SettingsInvalid(
        f"transformers {version} is not supported: {why}.",
        "A Trainer that is protected in part would resume wrongly without a word.",
        f"Install a version from {oldest} to {newest}.*, or train without protect().",
    )
