"""Opens weights named on the command line: a run, one of its checkpoints, or a weights file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbroken import SettingsInvalid
from unbroken_tts.evaluate import model_from_base
from unbroken_tts.model.base import read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from unbroken_tts.model.published_forms import FormChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model with its weights, and the untrained encoders for an export."""

    model: VoiceGpt
    """The trained part, with its weights, on the CPU."""
    untrained_encoders: Mapping[str, torch.Tensor]
    """The untrained encoders by name."""
    notes: tuple[str, ...] = ()
    """Remarks on a file, to be printed."""


def open_weights(
    path: Path, config: Path, *, averaged: bool = False, choice: FormChoice | None = None
) -> Weights:
    """Read the weights at `path`; nothing in the files is executed.

    Args:
        path: A directory (a run or one of its checkpoints) or a file of weights in any form.
        config: Model configuration of a file; a directory has its own.
        averaged: Use a run's moving average of the weights (`--ema`).
        choice: What a file doesn't say itself.

    Raises:
        DataInvalid: It is missing, damaged or foreign.
        SettingsInvalid: It does not fit the configuration, has no moving average, or `choice` speaks
            of a file and this is a directory.
        NoUsableCheckpoint: The directory contains no checkpoint.
    """
    if choice is not None:
        choice.require_file(path)
    if path.is_dir():
        from unbroken_tts.train.load import load_weights

        loaded = load_weights(path, averaged=averaged)
        return Weights(model=loaded.model, untrained_encoders=loaded.untrained_encoders)
    if averaged:
        raise SettingsInvalid(
            f"--ema was given, but {path} is a file of weights.",
            "Only a run of this trainer has a moving average of its weights.",
            "Name the run or one of its checkpoints, or omit --ema.",
        )
    base = read_base(path, choice)
    model = model_from_base(base, GptConfig.from_yaml(config))
    return Weights(model=model, untrained_encoders=base.untrained_encoders, notes=base.notes)
