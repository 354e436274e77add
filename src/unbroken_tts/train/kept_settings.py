"""The settings that act at a resume: the run's own, unless a new value was accepted by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from unbroken import ResumeRefused
from unbroken_tts.settings import TrainSettings, must_match_fields
from unbroken_tts.settings_flags import flag

SETTINGS_CHECK: Final = "settings-unchanged"
"""Id of the check that compares the settings."""

FOR_GOOD: Final = ("decay", "layout", "order", "seed", "train_base_rows")
"""Settings that a run keeps for ever: the order of its samples, the groups of its optimiser and the
rows it trains were made from them."""


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

    Raises:
        ResumeRefused: A new value was accepted that no running run can take.
    """
    if saved is None:
        return settings
    asked, before = compared(settings), saved.get("settings", {})
    if SETTINGS_CHECK in settings.accept:
        _refuse_what_stays(asked, before)
        return settings
    other = {
        name: value
        for name, value in before.items()
        if name in asked and repr(value) != repr(asked[name])
    }
    if "amp" in other:
        other["amp"] = None if other["amp"] else False
    return TrainSettings.model_validate(settings.model_dump() | other) if other else settings


def what_does_not_act(asked: TrainSettings, acting: TrainSettings, precision: str) -> list[str]:
    """Say of each setting that was asked for, but isn't the run's, which value acts.

    Args:
        asked: What was asked for at this start.
        acting: What `kept_settings` made of it.
        precision: What is computed in under the latter.
    """
    wanted, kept = compared(asked), compared(acting)
    computed = {"precision": f" (computed in {precision})", "amp": f" (computed in {precision})"}
    return [
        f"{_typed(name, wanted[name])} is not the run's and doesn't act: "
        f"{_typed(name, kept[name])} does{computed.get(name, '')}"
        for name in sorted(wanted)
        if repr(wanted[name]) != repr(kept[name])
    ]


def _refuse_what_stays(asked: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse the acceptance of a setting of which the new value could not act."""
    other = [name for name in FOR_GOOD if name in before and before[name] != asked[name]]
    if not other:
        return
    found = ", ".join(f"settings.{name} is {asked[name]!r}, was {before[name]!r}" for name in other)
    back = " ".join(_typed(name, before[name]) for name in other)
    raise ResumeRefused(
        f"--accept {SETTINGS_CHECK} can't take this: {found}.",
        "The order of the samples, the groups of the optimiser and the rows that are trained were "
        "made from it when the run began. Nothing was changed.",
        f"Give the run's: {back}. For the new value begin a new run from the weights: without "
        "--resume, with --init-from CHECKPOINT and another --output-dir.",
    )


def _typed(name: str, value: Any) -> str:
    """Return a setting as it is typed."""
    if isinstance(value, bool):
        return flag(name) if value else flag(name).replace("--", "--no-", 1)
    return f"{flag(name)} {value}"
