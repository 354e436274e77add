"""What the code asked for when a run began: each checkpoint has it, and a resume compares it with now.

What came of it since is state: options and settings that a schedule moved, what the loop has frozen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from unbroken.checks import declared_values, schedule_settings, trainable_parameters_unchanged
from unbroken.checks.declared_values import names_asked_for
from unbroken.checks.optimizer_options_unchanged import (
    OptimizerOptionsUnchanged,
    options_asked_for,
)
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN, settings_asked_for
from unbroken.checks.schedule_unchanged import ScheduleUnchanged
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.checks.trainable_parameters_unchanged import flags_built


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBirth:
    """Values by path, as the objects were built; of what was accepted since, the new ones."""

    frozen: Mapping[str, str] = field(default_factory=dict)
    """Digests of what nothing may move."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the optimisers."""
    schedules: Mapping[str, Any] = field(default_factory=dict)
    """Their settings."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """Which parameters require gradients."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Names of the plain values, by part."""

    @classmethod
    def of(
        cls,
        frozen: Mapping[str, str],
        built: StateSummary,
        saved: StateSummary | None,
        taken: Collection[str],
    ) -> Self:
        """Return what a start notes.

        Args:
            frozen: Digests of what is frozen, as it is now.
            built: The objects as the code built them.
            saved: What knows of the run's start; only what it does not know is new.
            taken: Ids of the checks whose new value acts instead of the saved one.
        """
        known = {} if saved is None else saved.evidence.get("frozen_at_birth", {})

        def asked(check: str) -> StateSummary:
            return built if saved is None or check in taken else saved

        return cls(
            frozen={**frozen, **known},
            options=options_asked_for(asked(OptimizerOptionsUnchanged.id)),
            schedules={
                **_not_known(built, saved),
                **settings_asked_for(asked(ScheduleUnchanged.id)),
            },
            trained=flags_built(built if saved is None else saved),
            values=names_asked_for(built),
        )

    def evidence(self) -> dict[str, Any]:
        """Return it as a checkpoint has it."""
        return {
            "frozen_at_birth": dict(self.frozen),
            "options_at_birth": dict(self.options),
            schedule_settings.AT_BIRTH: dict(self.schedules),
            trainable_parameters_unchanged.AT_BIRTH: dict(self.trained),
            **({declared_values.AT_BIRTH: dict(self.values)} if self.values else {}),
        }


def _not_known(built: StateSummary, saved: StateSummary | None) -> dict[str, Any]:
    """Return the settings of schedules that an earlier version saved without them."""
    known = () if saved is None else saved.of_kind(OF_RUN, OF_LOOP)
    settings = settings_asked_for(built)
    return {path: each for path, each in settings.items() if not is_below(path, known)}
