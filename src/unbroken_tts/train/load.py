"""Loads weights from a run or one of its checkpoints, to evaluate, speak or export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbroken import Checkpoint, DataInvalid, RunDirectory, find_source, read_tensors
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.train.language_row import LANGUAGE_ROW
from unbroken_tts.train.part import saved_part


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The weights of a checkpoint."""

    model: VoiceGpt
    """With its weights, adapters merged, in host memory, in evaluation mode."""
    untrained_encoders: dict[str, torch.Tensor]
    """The untrained encoders of the run."""
    facts: dict[str, Any]
    """The facts of the run."""
    checkpoint: Path
    step: int
    """Completed steps."""


def load_weights(path: Path, *, averaged: bool = False) -> Loaded:
    """Load the weights of a run's newest complete checkpoint, or of one checkpoint.

    Args:
        path: A run's directory, or a directory under its `checkpoints/`.
        averaged: Take the moving average of the weights instead of the weights.

    Raises:
        NoUsableCheckpoint: There is none.
        DataInvalid: The run keeps no moving average, or its encoders are missing.
    """
    source = find_source(path, str(path))
    checkpoint = source.checkpoint
    assert checkpoint is not None
    facts = checkpoint.facts()
    config = GptConfig.from_mapping(facts["model"], origin=str(checkpoint.path))
    shape = (config, facts["vocabulary"], facts["frozen_rows"])
    language = facts.get(LANGUAGE_ROW)
    model = VoiceGpt(*shape, part=saved_part(facts), language=language)
    if averaged:
        model = _averaged(model, checkpoint)
    else:
        checkpoint.load_into(model)
    if model.lora is not None:
        adapted, model = model, VoiceGpt(*shape, language=language)
        model.load_table(adapted.table())
    model.eval()
    return Loaded(
        model=model,
        untrained_encoders=untrained_encoders_of(source.layout.root),
        facts=facts,
        checkpoint=checkpoint.path,
        step=checkpoint.position.step,
    )


def _averaged(model: VoiceGpt, checkpoint: Checkpoint) -> VoiceGpt:
    if "ema" not in checkpoint.part_names():
        raise DataInvalid(
            f"{checkpoint.path} contains no moving average of the weights.",
            "The run was trained without one.",
            "Omit --ema, or train with --ema-decay.",
        )
    average = get_ema_multi_avg_fn(0.999)
    shell = AveragedModel(model, multi_avg_fn=average)
    checkpoint.load_into(shell, "ema")
    inner = shell.module
    assert isinstance(inner, VoiceGpt)
    return inner


def untrained_encoders_file(root: Path) -> Path:
    """Return the path of a run's untrained encoders, which its checkpoints don't contain."""
    return RunDirectory(root).base / "carried.safetensors"


def untrained_encoders_of(root: Path) -> dict[str, torch.Tensor]:
    """Read the untrained encoders of a run.

    Raises:
        DataInvalid: The file is missing.
    """
    place = untrained_encoders_file(root)
    if not place.is_file():
        raise DataInvalid(
            f"{place} is missing.",
            "It contains the untrained encoders, which a gpt.pth for inference needs.",
            "Restore it from a copy of the run.",
        )
    return read_tensors(place)
