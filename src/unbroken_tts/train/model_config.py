"""Finds the model's configuration: what the file says, and what only the weights tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbroken import NoUsableCheckpoint, find_source
from unbroken_tts.model.base import shapes_of
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.families import TOLD, told_by
from unbroken_tts.model.published_forms import FormChoice
from unbroken_tts.settings import TrainSettings


def model_config(settings: TrainSettings, saved: Mapping[str, Any] | None) -> GptConfig:
    """Return the configuration of `--config` for the weights that a start begins with.

    Args:
        settings: The settings of the start.
        saved: The facts of the run to continue; None for a new one.

    Raises:
        DataInvalid: The weights file is damaged or foreign.
        SettingsInvalid: The configuration is unusable, or the file has several sets of weights.
    """
    config = GptConfig.from_yaml(settings.config)
    source = settings.init_from or settings.base_checkpoint
    return config.updated(_told(settings, saved), origin=f"{settings.config} with {source}")


def _told(settings: TrainSettings, saved: Mapping[str, Any] | None) -> dict[str, Any]:
    if saved is not None:
        return _of_facts(saved)
    source = settings.init_from or settings.base_checkpoint
    path = Path(source)
    if str(source) == "none" or not path.exists():  # that it is missing is said by who loads it
        return {}
    if path.is_dir():
        try:
            return _of_facts(find_source(path, str(path)).facts() or {})
        except NoUsableCheckpoint:  # likewise
            return {}
    choice = FormChoice(entry=settings.weights_entry, adapter_alpha=settings.adapter_alpha)
    return told_by(shapes_of(path, choice))


def _of_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    model = facts.get("model", {})
    return {name: model[name] for name in TOLD if name in model}
