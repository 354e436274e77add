"""Decides which settings a resume uses: the saved ones, unless new ones were accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from unbroken import ResumeRefused
from unbroken_tts.settings import TrainSettings, must_match_fields
from unbroken_tts.settings_flags import flag

SETTINGS_CHECK: Final = "settings-unchanged"
"""Id of the check that compares the settings."""

LATER: Final[Mapping[str, Any]] = {
    "mix": "",
    "train_layers": "auto",
    "lora_rank": 0,
    "lora_alpha": None,
    "lora_dropout": 0.0,
    "lora_targets": "all",
    "language": None,
    "exact_across_devices": 0,
}
"""Settings that runs of earlier versions didn't have, with what those did."""

FOR_GOOD: Final = (
    "decay",
    "exact_across_devices",
    "language",
    "layout",
    "lora_alpha",
    "lora_dropout",
    "lora_rank",
    "lora_targets",
    "mix",
    "order",
    "seed",
    "train_base_rows",
    "train_layers",
)
"""Settings that a run can't change: they determine the order of its samples, the groups of its
optimiser and what it trains."""


def compared(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that must match at a resume."""
    found = settings.model_dump(mode="json", include=set(must_match_fields()))
    found["amp"] = settings.amp is not False  # leaving --amp out means the same as giving it
    return found


def setting_facts(settings: TrainSettings) -> dict[str, Any]:
    """Return the same as facts of a run, without what earlier versions didn't name either."""
    known = LATER.items()
    return {name: each for name, each in compared(settings).items() if (name, each) not in known}


def _saved(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {**LATER, **saved.get("settings", {})}


def kept_settings(settings: TrainSettings, saved: Mapping[str, Any] | None) -> TrainSettings:
    """Return the settings to train with.

    Args:
        settings: The settings requested at this start.
        saved: The facts of the checkpoint to resume; None for a new run.

    Returns:
        The requested settings, with the saved value for each setting that must match. With
        `--accept settings-unchanged`, the requested settings as they are.

    Raises:
        ResumeRefused: --accept names a change that an existing run can't make.
    """
    if saved is None:
        return settings
    asked, before = compared(settings), _saved(saved)
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
    """Return a note for each requested setting that is overridden by the saved one.

    Args:
        asked: The settings requested at this start.
        acting: What `kept_settings` returned for them.
        precision: The precision that follows from the latter.
    """
    wanted, kept = compared(asked), compared(acting)
    computed = {"precision": f" (computed in {precision})", "amp": f" (computed in {precision})"}
    return [
        f"{_typed(name, wanted[name])} differs from the run's and is not used: "
        f"{_typed(name, kept[name])} is{computed.get(name, '')}"
        for name in sorted(wanted)
        if repr(wanted[name]) != repr(kept[name])
    ]


def _refuse_what_stays(asked: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse to accept a new value for a setting that a run can't change."""
    other = [name for name in FOR_GOOD if name in before and before[name] != asked[name]]
    if not other:
        return
    found = ", ".join(f"settings.{name} is {asked[name]!r}, was {before[name]!r}" for name in other)
    back = " ".join(_typed(name, before[name]) for name in other)
    raise ResumeRefused(
        f"--accept {SETTINGS_CHECK} can't take this: {found}.",
        "The order of the samples, the groups of the optimiser or what is trained were "
        "built from it when the run began. Nothing was changed.",
        f"Use the run's: {back}. For the new value begin a new run from the weights: without "
        "--resume, with --init-from CHECKPOINT and another --output-dir.",
    )


def _typed(name: str, value: Any) -> str:
    """Return a setting as it is typed on the command line."""
    if isinstance(value, bool):
        return flag(name) if value else flag(name).replace("--", "--no-", 1)
    return f"{flag(name)} (not given)" if value in {"", None} else f"{flag(name)} {value}"
