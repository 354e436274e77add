"""The settings of a run that is taken over from the earlier trainer: its own, where it says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.kept_settings import compared

if TYPE_CHECKING:
    from unbroken_tts.rescue.old_checkpoint import OldCheckpoint

USUAL: Final = {"decay": "all", "layout": "legacy", "loss_weighting": "legacy", "order": "random"}
"""How the earlier trainer always trained; a flag that is given replaces it for good."""

RESCUED: Final = "rescued"
"""Name of the fact that a run was taken over."""


def old_settings(
    settings: TrainSettings, old: OldCheckpoint, warmup: int, total: int
) -> TrainSettings:
    """Return the settings with which the old run was trained.

    Learning rate, decay and schedule are as recorded, whatever was asked for: the resume that
    follows compares them with what was. How the earlier trainer laid out batches, weighed losses and
    decayed acts unless a flag says otherwise; what it didn't record at all is as asked for.

    Args:
        settings: The settings of this start.
        old: The file to go on from.
        warmup: Updates of the warm-up.
        total: Steps of the whole run, and of its schedule.
    """
    recorded = {
        "learning_rate": old.base_rate,
        "weight_decay": float(old.options.get("weight_decay", settings.weight_decay)),
        "schedule": "legacy",
        "warmup_steps": warmup,
        "max_steps": total,
    }
    usual = {name: value for name, value in USUAL.items() if name not in settings.model_fields_set}
    return TrainSettings.model_validate(settings.model_dump() | recorded | usual)


def filled_from_old(settings: TrainSettings, saved: Mapping[str, Any] | None) -> TrainSettings:
    """Let what was not given at this start be the run's, if it was taken over.

    The command that continues an old run need not repeat what its file says.

    Args:
        settings: The settings of this start.
        saved: The facts of the run to continue; None for a new one.
    """
    if saved is None or RESCUED not in saved:
        return settings
    before = saved.get("settings", {})
    found = {
        name: value
        for name, value in before.items()
        if name in compared(settings) and name not in settings.model_fields_set
    }
    if "amp" in found:
        found["amp"] = None if found["amp"] else False
    return with_old_batch(settings.model_copy(update=found), saved[RESCUED]["batch"])


def with_old_batch(settings: TrainSettings, batch: int) -> TrainSettings:
    """Let micro-batches have the size they had in the old run, unless a flag says otherwise.

    Its losses are means of micro-batches, padded to the longest sample of each: their size counts.
    """
    if settings.batch_size or settings.grad_accumulation:
        return settings
    return settings.model_copy(update={"batch_size": batch})
