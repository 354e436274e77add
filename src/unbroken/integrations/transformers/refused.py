"""What can't be protected, by name: arguments, several processes, trainers that were trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch.utils.data import IterableDataset

from unbroken.errors import RunMisused, SettingsInvalid

NOT_WITH: Final[Mapping[str, tuple[str, str]]] = {
    "auto_find_batch_size": (
        "It tries the training with several sizes of a batch, each from its beginning.",
        "Find the size first, and give it as per_device_train_batch_size.",
    ),
    "ignore_data_skip": (
        "It begins a resumed epoch at its first sample.",
        "Leave it out: no batch is read to be skipped.",
    ),
    "push_to_hub": (
        "It uploads folders while they are written.",
        "Leave it out, and call trainer.push_to_hub() when the training has ended.",
    ),
    "deepspeed": ("It keeps the state of several processes.", "Train in one process without it."),
    "fsdp": ("It keeps the state of several processes.", "Train in one process without it."),
    "save_on_each_node": ("It saves in several processes.", "Train in one process without it."),
}
"""Arguments that are refused: why, and what to do."""


def require_can_be_protected(trainer: Any, environment: Mapping[str, str]) -> None:
    """Refuse a trainer that could not be resumed exactly.

    Args:
        trainer: A `transformers.Trainer`.
        environment: Of the process.

    Raises:
        SettingsInvalid: An argument, the data or the number of processes isn't supported.
        RunMisused: The trainer was trained already.
    """
    args = trainer.args
    _require_one_process(args, environment)
    if not args.output_dir:
        raise SettingsInvalid(
            "The TrainingArguments have no output_dir.",
            "There is no place for the run's checkpoints.",
            "Give TrainingArguments(output_dir=...).",
        )
    for name, (why, remedy) in NOT_WITH.items():
        if getattr(args, name, None):
            raise SettingsInvalid(f"{name} is {getattr(args, name)!r}.", why, remedy)
    if isinstance(trainer.train_dataset, IterableDataset):
        raise SettingsInvalid(
            f"The train_dataset, a {type(trainer.train_dataset).__name__}, has no index.",
            "Which sample comes when is then not known before it is read.",
            "Give a data set with __len__ and __getitem__, or use unbroken.Run(data=loader) in a loop "
            "of your own.",
        )
    if trainer.state.global_step:
        raise RunMisused(
            f"The Trainer has trained {trainer.state.global_step} steps already.",
            "Its run would begin with weights that no checkpoint tells of.",
            "Call protect() before the first train(), on a new Trainer.",
        )


def _require_one_process(args: Any, environment: Mapping[str, str]) -> None:
    world = max(int(args.world_size), int(environment.get("WORLD_SIZE") or 1))
    if world > 1:
        raise SettingsInvalid(
            f"{world} processes train (WORLD_SIZE).",
            "A run is one process on one device; each would write to the same directory.",
            "Start the program with `python` in one process.",
        )
    if args.n_gpu > 1:
        raise SettingsInvalid(
            f"{args.n_gpu} devices train in one process (DataParallel).",
            "A run is one process on one device.",
            "Set CUDA_VISIBLE_DEVICES to one device.",
        )
