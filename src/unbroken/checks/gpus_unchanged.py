"""The accelerators are the ones that saved.

Compares: names and number of the devices; any number on either side, none included.

Why: other devices round differently. No random stream depends on their number: all streams derive
from (seed, position).

Does not: say how large the difference is; the replay measures it.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class GpusUnchanged(FactsCheck):
    """The devices are the ones that saved."""

    id: ClassVar[str] = "gpus-unchanged"
    title: ClassVar[str] = "The devices are the ones that saved"
    area: ClassVar[str] = "environment"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.KEEP_SAVED
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = (
        "Other devices round differently, and draw other dropout masks; data and learning rates are the same."
    )
    cause: ClassVar[str] = "The run moved to another machine."
    remedy: ClassVar[str] = "Nothing need be done."
    covers: ClassVar[tuple[str, ...]] = ("environment.devices",)
    AGREES: ClassVar = (
        (
            StateSummary(facts={"environment": {"devices": ["NVIDIA L4"]}}),
            StateSummary(facts={"environment": {"devices": ["NVIDIA L4"]}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            StateSummary(facts={"environment": {"devices": ["NVIDIA L4"]}}),
            StateSummary(facts={"environment": {"devices": ["NVIDIA A100"]}}),
        ),
    )
