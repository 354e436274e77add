"""The settings that decide the training are the run's.

Compares: every setting that is marked `must match`, as it was asked for at this start, with what
the run was trained with.

Why: a flag that differs silently gives another run, or is silently overruled by the checkpoint.

Does not: compare where things lie, how often is saved or logged, or how the work is cut.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class SettingsUnchanged(FactsCheck):
    """The settings are the run's."""

    id: ClassVar[str] = "settings-unchanged"
    title: ClassVar[str] = "The settings are the run's"
    area: ClassVar[str] = "settings"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.TAKE_NEW
    keeps_saved: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = (
        "From the next step on it would be another training than the one that was saved."
    )
    cause: ClassVar[str] = (
        "The command line or the settings file is not the one the run was begun with."
    )
    remedy: ClassVar[str] = (
        "Give the run's values again (a flag that is left out has its default), or take the new "
        "ones, where they can act, with --accept settings-unchanged."
    )
    covers: ClassVar[tuple[str, ...]] = ("settings",)
    AGREES: ClassVar = (
        (
            StateSummary(facts={"settings": {"learning_rate": 2e-05}}),
            StateSummary(facts={"settings": {"learning_rate": 2e-05}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            StateSummary(facts={"settings": {"learning_rate": 2e-05}}),
            StateSummary(facts={"settings": {"learning_rate": 0.00077}}),
        ),
    )
