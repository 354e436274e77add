"""Weights out of a run's directory or one of its checkpoints, for evaluating, speaking, exporting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.tensor_file import read_tensors
from unbroken.errors import DataInvalid, StateMismatch
from unbroken.run.resume import find_source
from unbroken.state.modules import ModulePart
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The weights of a checkpoint of ours."""

    model: VoiceGpt
    """Filled, on the host, in evaluation mode."""
    untrained_encoders: dict[str, torch.Tensor]
    """The untrained encoders of the run."""
    facts: dict[str, Any]
    """What the run is made of."""
    checkpoint: Path
    step: int
    """Completed steps."""


def load_weights(path: Path, *, averaged: bool = False) -> Loaded:
    """Load the weights of a run's newest whole checkpoint, or of one checkpoint.

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
    model = VoiceGpt(config, facts["vocabulary"], facts["frozen_rows"])
    if averaged:
        model = _averaged(model, checkpoint)
    else:
        _fill(ModulePart("model", model), checkpoint.part("model"))
    model.eval()
    return Loaded(
        model=model,
        untrained_encoders=untrained_encoders_of(source.layout),
        facts=facts,
        checkpoint=checkpoint.path,
        step=checkpoint.position.step,
    )


def _averaged(model: VoiceGpt, checkpoint: Any) -> VoiceGpt:
    if "ema.safetensors" not in checkpoint.manifest.files:
        raise DataInvalid(
            f"{checkpoint.path} holds no moving average of the weights.",
            "The run was trained without one.",
            "Leave out --ema, or train with --ema-decay.",
        )
    average = get_ema_multi_avg_fn(0.999)
    shell = AveragedModel(model, multi_avg_fn=average)
    _fill(ModulePart("ema", shell), checkpoint.part("ema"))
    inner = shell.module
    assert isinstance(inner, VoiceGpt)
    return inner


def _fill(part: ModulePart, saved: Any) -> None:
    found = part.differences(saved)
    if found:
        raise StateMismatch(
            f"The checkpoint's weights don't fit its own facts: {'; '.join(found[:5])}.",
            "They would be loaded in part.",
            "Use another checkpoint of the run.",
        )
    part.restore(saved)


def untrained_encoders_file(layout: Layout) -> Path:
    """Return where a run keeps its untrained encoders, once and not in every checkpoint."""
    return layout.base / "carried.safetensors"


def untrained_encoders_of(layout: Layout) -> dict[str, torch.Tensor]:
    """Read the untrained encoders that a run keeps.

    Raises:
        DataInvalid: They are not there.
    """
    place = untrained_encoders_file(layout)
    if not place.is_file():
        raise DataInvalid(
            f"{place} is missing.",
            "It holds the untrained encoders, which a gpt.pth for inference must contain.",
            "Put it back from a copy of the run.",
        )
    return read_tensors(place)
