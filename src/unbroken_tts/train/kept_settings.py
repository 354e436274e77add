"""The settings that act at a resume: the run's own, unless a new value was accepted by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.checks.settings_unchanged import SettingsUnchanged
from unbroken_tts.settings import TrainSettings, must_match_fields


def compared(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that decide the training, as the facts of a run hold them."""
    found = settings.model_dump(mode="json", include=set(must_match_fields()))
    found["amp"] = settings.amp is not False  # --amp and no word of it mean the same
    return found


def kept_settings(settings: TrainSettings, saved: Mapping[str, Any] | None) -> TrainSettings:
    """Return the settings to train with.

    Args:
        settings: What was asked for at this start.
        saved: The facts of the checkpoint that is continued; None where a run begins.

    Returns:
        What was asked for, with the saved value in the place of each setting that must match. With
        `--accept settings-unchanged` it is what was asked for.
    """
    if saved is None or SettingsUnchanged.id in settings.accept:
        return settings
    asked, before = compared(settings), saved.get("settings", {})
    other = {
        name: value
        for name, value in before.items()
        if name in asked and repr(value) != repr(asked[name])
    }
    if "amp" in other:
        other["amp"] = None if other["amp"] else False
    return TrainSettings.model_validate(settings.model_dump() | other) if other else settings
