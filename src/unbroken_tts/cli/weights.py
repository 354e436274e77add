"""Weights named on the command line: a run, one of its checkpoints, or a file of another program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbroken import SettingsInvalid
from unbroken_tts.model.base import check_base, load_base, read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model with its weights, and what it carries through to an export."""

    model: VoiceGpt
    """The trained part, filled, on the CPU."""
    untrained_encoders: Mapping[str, torch.Tensor]
    """The untrained encoders by name."""


def open_weights(path: Path, config: Path, *, averaged: bool = False) -> Weights:
    """Read the weights at `path`; nothing in the files is executed.

    Args:
        path: A directory (a run or a checkpoint of ours) or a file (`gpt.pth`, or `latest.pth` and
            `model_step{N}.pth` of the earlier trainer).
        config: Model configuration of a file; a directory brings its own.
        averaged: Take a run's moving average of the weights (`--ema`).

    Raises:
        DataInvalid: It is missing, damaged or foreign.
        SettingsInvalid: It does not fit the configuration, or has no moving average.
        NoUsableCheckpoint: The directory holds no checkpoint.
    """
    if path.is_dir():
        from unbroken_tts.train.load import load_weights

        loaded = load_weights(path, averaged=averaged)
        return Weights(model=loaded.model, untrained_encoders=loaded.untrained_encoders)
    if averaged:
        raise SettingsInvalid(
            f"--ema was given, but {path} is a file of weights.",
            "Only a run of ours keeps a moving average beside its weights.",
            "Name the run or one of its checkpoints, or leave out --ema.",
        )
    base = read_base(path)
    gpt_config = base.config_for(GptConfig.from_yaml(config))
    check_base(base, gpt_config, base.vocabulary)
    model = VoiceGpt(gpt_config, base.vocabulary)
    load_base(model, base)
    return Weights(model=model, untrained_encoders=base.untrained_encoders)
