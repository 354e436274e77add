"""Opens weights named on the command line: a run, one of its checkpoints, or a weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbroken import SettingsInvalid
from unbroken_tts.evaluate import model_from_base
from unbroken_tts.model.base import read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt

if TYPE_CHECKING:
    import torch

    from unbroken_tts.model.published_forms import FormChoice
    from unbroken_tts.train.load import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model with its weights, and the untrained encoders for an export."""

    model: VoiceGpt
    """The trained part, with its weights, on the CPU."""
    untrained_encoders: Mapping[str, torch.Tensor]
    """The untrained encoders by name."""
    notes: tuple[str, ...] = ()
    """Remarks on a file, to be printed."""
    facts: Mapping[str, Any] | None = None
    """The facts of the run; None for a file."""
    root: Path | None = None
    """The run's directory; None for a file."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights came from: run, checkpoints and step."""


def open_weights(
    path: Path,
    config: Path,
    *,
    averaged: bool = False,
    best: bool = False,
    mean_of: int = 0,
    choice: FormChoice | None = None,
) -> Weights:
    """Read the weights at `path`; nothing in the files is executed.

    Args:
        path: A directory (a run or one of its checkpoints) or a file of weights in any form.
        config: Model configuration of a file; a directory has its own.
        averaged: Use a run's moving average of the weights (`--ema`).
        best: Use the run's checkpoint with the lowest validation loss (`--best`).
        mean_of: Use the mean of the weights of as many of the run's newest checkpoints
            (`--average`); 0 for none.
        choice: What a file doesn't say itself.

    Raises:
        DataInvalid: It is missing, damaged or foreign.
        SettingsInvalid: It does not fit the configuration, has not what was asked for, or `choice`
            speaks of a file and this is a directory.
        NoUsableCheckpoint: The directory contains no checkpoint.
    """
    if choice is not None:
        choice.require_file(path)
    if path.is_dir():
        return _of_run(path, averaged=averaged, best=best, mean_of=mean_of)
    asked = "--ema" if averaged else "--best" if best else "--average" if mean_of else ""
    if asked:
        raise SettingsInvalid(
            f"{asked} was given, but {path} is a file of weights.",
            "Only a run of this trainer has several weights to choose from.",
            f"Name the run or one of its checkpoints, or omit {asked}.",
        )
    base = read_base(path, choice)
    model = model_from_base(base, GptConfig.from_yaml(config))
    return Weights(model=model, untrained_encoders=base.untrained_encoders, notes=base.notes)


def _of_run(path: Path, *, averaged: bool, best: bool, mean_of: int) -> Weights:
    from unbroken_tts.train.load import load_weights
    from unbroken_tts.train.selection import best_checkpoint, mean_of_newest

    if mean_of and (averaged or best):
        raise SettingsInvalid(
            "--average was given with --best or --ema.",
            "It is the mean of the newest checkpoints' weights themselves.",
            "Choose one of them; only --best and --ema go together.",
        )
    if mean_of:
        loaded, places = mean_of_newest(path, mean_of)
        return _loaded(loaded, {"choice": f"mean of the newest {mean_of}"}, places)
    if best:
        place, score = best_checkpoint(path)
        loaded = load_weights(place, averaged=averaged)
        return _loaded(loaded, {"choice": "best", "val_loss": score, "ema": averaged}, (place,))
    loaded = load_weights(path, averaged=averaged)
    return _loaded(loaded, {"choice": "newest", "ema": averaged}, (loaded.checkpoint,))


def _loaded(loaded: Loaded, how: Mapping[str, Any], places: tuple[Path, ...]) -> Weights:
    from unbroken import Checkpoint

    return Weights(
        model=loaded.model,
        untrained_encoders=loaded.untrained_encoders,
        facts=loaded.facts,
        root=loaded.checkpoint.resolve().parent.parent,
        origin={
            "run": Checkpoint.at(loaded.checkpoint).manifest.run_id,
            "step": loaded.step,
            "checkpoints": [place.name for place in places],
            **how,
        },
    )
