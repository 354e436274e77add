"""Decides which part of the model a run trains, from the settings or from the run's facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from unbroken import SettingsInvalid, counted
from unbroken_tts.hardware import BYTES_SAVED
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.trained_part import Lora, TrainedPart, chosen_groups
from unbroken_tts.settings import TrainSettings

TRAINED_PART: Final = "trained_part"
"""Name of the fact that says what a run trains; a run that trains everything has none."""

ALPHA_OVER_RANK: Final = 2.0
"""Default strength of adapters; that of Biderman et al. 2024 (LoRA Learns Less and Forgets Less) for
rank 256, and a common choice."""


def is_restricted(settings: TrainSettings) -> bool:
    """Return whether the settings freeze anything beside rows of the base vocabulary."""
    return settings.lora_rank > 0 or settings.train_layers not in {"auto", "all"}


def part_of(
    settings: TrainSettings, config: GptConfig, *, is_same_vocabulary: bool
) -> TrainedPart | None:
    """Return what a new run trains; None for everything.

    Args:
        settings: The settings of the run.
        config: Of the model.
        is_same_vocabulary: Whether it is proved that all text rows are the base's, so that `auto`
            leaves them as they are.

    Raises:
        SettingsInvalid: Nothing would be trained, or adapters fit nowhere.
    """
    if not is_restricted(settings):
        return None
    choice = settings.train_layers
    if choice == "auto":
        choice = "none" if is_same_vocabulary and not settings.train_base_rows else "text"
    groups = chosen_groups(choice, config.layers)
    part = TrainedPart(groups=groups, blocks=config.layers, lora=_lora(settings))
    _require_sensible(settings, part, config)
    return None if part.is_whole else part


def saved_part(facts: Mapping[str, Any]) -> TrainedPart | None:
    """Return what a run trains, by its facts; None for everything."""
    return TrainedPart.of_record(facts.get(TRAINED_PART))


def freed_bytes(settings: TrainSettings, saved: Mapping[str, Any] | None) -> int:
    """Return the memory that a training needs less than one of everything, before it is built.

    Args:
        settings: The settings to train with.
        saved: The facts of the run to continue; None for a new one.
    """
    if not is_restricted(settings):
        return 0
    if saved is None:
        config = GptConfig.from_yaml(settings.config)
        part, vocabulary = part_of(settings, config, is_same_vocabulary=False), 1
    else:
        config = GptConfig.from_mapping(saved["model"], origin="the checkpoint's facts")
        part, vocabulary = saved_part(saved), saved["vocabulary"]
    return 0 if part is None else BYTES_SAVED * part.numbers(config, vocabulary)[1]


def counts_of(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of a model are trained, and how many are not, with frozen rows."""
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    buffers = sum(each.numel() for each in model.buffers())
    return trained, sum(each.numel() for each in model.parameters()) + buffers - trained


def _lora(settings: TrainSettings) -> Lora | None:
    if not settings.lora_rank:
        return None
    return Lora(
        rank=settings.lora_rank,
        alpha=settings.lora_alpha or ALPHA_OVER_RANK * settings.lora_rank,
        dropout=settings.lora_dropout,
        targets=settings.lora_targets,
    )


def _require_sensible(settings: TrainSettings, part: TrainedPart, config: GptConfig) -> None:
    if part.lora is None and not part.groups:
        raise SettingsInvalid(
            f"--train-layers {settings.train_layers} names no layer, and there is no --lora-rank.",
            "Nothing would be trained.",
            "Name layers, or train adapters with --lora-rank.",
        )
    if part.lora is not None and not part.adapted:
        raise SettingsInvalid(
            f"--lora-rank {part.lora.rank} and --train-layers {settings.train_layers} were both given.",
            f"All {counted(part.blocks, 'block')} are trained as they are, so none is left for adapters.",
            "Omit --lora-rank, or name fewer blocks.",
        )
    if part.lora is not None and part.lora.rank > config.model_dim:
        raise SettingsInvalid(
            f"--lora-rank is {part.lora.rank}, and the model is {config.model_dim} wide.",
            "Adapters of such a rank have more numbers than the weights they adapt.",
            "Give a smaller rank, such as 16, or train the blocks themselves with --train-layers.",
        )
    source = settings.init_from or settings.base_checkpoint
    if str(source) == "none":
        raise SettingsInvalid(
            "--base-checkpoint none was given with --lora-rank or --train-layers.",
            "Random weights would be frozen, and never learn.",
            "Name the base's gpt.pth, or train all layers.",
        )
