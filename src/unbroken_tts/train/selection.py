"""Selects the checkpoints of a run whose weights to use: the best, or the mean of the newest."""

from __future__ import annotations

from pathlib import Path

import torch

from unbroken import Checkpoint, CheckpointCorrupt, RunDirectory, SettingsInvalid
from unbroken_tts.train.load import Loaded, load_weights

_SCORE = "val_loss"


def _complete(run: Path, flag: str) -> list[Checkpoint]:
    """Return the checkpoints of a run with a readable manifest, from oldest to newest."""
    layout = RunDirectory(run)
    if layout.run_id is None:
        raise SettingsInvalid(
            f"{flag} was given, but {run} is not the directory of a run.",
            "It selects among the checkpoints of a run.",
            f"Name the run's directory, or omit {flag}.",
        )
    found = []
    for place in layout.checkpoints.glob("step-*"):
        try:
            checkpoint = Checkpoint.at(place)
        except CheckpointCorrupt:
            continue
        if checkpoint.manifest.run_id == layout.run_id:
            found.append(checkpoint)
    return sorted(found, key=lambda each: (each.position.step, each.position.samples))


def best_checkpoint(run: Path) -> tuple[Path, float]:
    """Return a run's checkpoint with the lowest validation loss, the older of equals, and the loss.

    Raises:
        SettingsInvalid: It is no run, or none of its checkpoints has a validation loss.
    """
    scored = [
        (each.manifest.metrics[_SCORE], each.path)
        for each in _complete(run, "--best")
        if _SCORE in each.manifest.metrics
    ]
    if not scored:
        raise SettingsInvalid(
            f"No checkpoint of {run} has a validation loss.",
            "The best one is that with the lowest; nothing was validated where one was saved.",
            "Omit --best to use the newest checkpoint.",
        )
    score, path = min(scored, key=lambda each: each[0])
    return path, score


def mean_of_newest(run: Path, count: int) -> tuple[Loaded, tuple[Path, ...]]:
    """Return the mean of the weights of a run's newest checkpoints, and the checkpoints.

    Summed in float64, so rows that are equal in all of them stay the same bits.

    Args:
        run: The run's directory.
        count: How many; at least 2.

    Raises:
        SettingsInvalid: It is no run, or has fewer checkpoints.
        CheckpointCorrupt: One of them is damaged.
    """
    known = _complete(run, "--average")
    if count < 2 or len(known) < count:
        raise SettingsInvalid(
            f"--average {count} was given; {run} has {len(known)} complete checkpoints.",
            "The mean is over the newest ones, and at least two.",
            f"Give --average a number from 2 to {len(known)}."
            if len(known) >= 2
            else "Omit --average, and train with a larger --keep-checkpoints to use it.",
        )
    chosen = [each.path for each in known[-count:]]
    newest = load_weights(chosen[-1])
    total = {name: tensor.double() for name, tensor in newest.model.table().items()}
    for path in chosen[:-1]:
        for name, tensor in load_weights(path).model.table().items():
            total[name] += tensor
    with torch.no_grad():
        newest.model.load_table({name: (each / count).float() for name, each in total.items()})
    return newest, tuple(chosen)
