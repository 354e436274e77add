"""The settings of a training run: each declared once, with its range, default and help text.

The flags of the command line, the keys of a settings file, `--help`, docs/cli.md and the facts
that a resume compares are all derived from `TrainSettings`.
"""

from __future__ import annotations

from typing import Final

from unbroken_tts.settings.checkpoints import CheckpointSettings
from unbroken_tts.settings.data import DataSettings
from unbroken_tts.settings.declaration import Group, mark
from unbroken_tts.settings.hardware import HardwareSettings
from unbroken_tts.settings.log_and_validation import LogSettings
from unbroken_tts.settings.model import ModelSettings
from unbroken_tts.settings.old_runs import OldRunSettings
from unbroken_tts.settings.optimisation import OptimisationSettings
from unbroken_tts.settings.trained_part import TrainedPartSettings

__all__ = ["GROUPS", "TrainSettings", "must_match_fields"]

GROUPS: Final[tuple[type[Group], ...]] = (
    DataSettings,
    ModelSettings,
    TrainedPartSettings,
    OptimisationSettings,
    HardwareSettings,
    CheckpointSettings,
    LogSettings,
    OldRunSettings,
)


class TrainSettings(
    OldRunSettings,
    LogSettings,
    CheckpointSettings,
    HardwareSettings,
    OptimisationSettings,
    TrainedPartSettings,
    ModelSettings,
    DataSettings,
):
    """All settings of `unbroken-tts train`, validated and frozen."""

    def notes(self) -> list[str]:
        """Return a sentence for each combination that is allowed but probably not intended."""
        found = []
        if self.max_steps and self.warmup_steps >= self.max_steps:
            found.append(
                f"--warmup-steps {self.warmup_steps} is not below --max-steps {self.max_steps}: "
                f"the learning rate never reaches {self.learning_rate:g}."
            )
        if self.sample_audio and self.codec is None:
            found.append(
                f"--sample-audio {self.sample_audio} needs --codec: no samples will be spoken."
            )
        if self.lora_rank and "learning_rate" not in self.model_fields_set:
            found.append(
                f"--lora-rank with the default --learning-rate {self.learning_rate:g}: adapters "
                "usually learn best at about ten times the rate of full training (Schulman et al. "
                "2025, LoRA Without Regret)."
            )
        if not self.save_interval and not self.save_minutes:
            found.append(
                "--save-interval 0 without --save-minutes: a crash loses everything since the "
                "start, because the run saves only at a stop and at the end."
            )
        return found


def must_match_fields() -> frozenset[str]:
    """Return the names of the settings that must be the same at a resume."""
    fields = TrainSettings.model_fields
    return frozenset(name for name, field in fields.items() if mark(field).resume == "must match")
