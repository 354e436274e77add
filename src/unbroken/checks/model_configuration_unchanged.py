"""The model is built from the same configuration.

Compares: every number of the model's configuration, and how many base rows are frozen.

Why: the same names and shapes can hide another model: another number of heads, another dropout.

Does not: compare tensors; the structure and the digests do.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class ModelConfigurationUnchanged(FactsCheck):
    """The model's configuration is the run's."""

    id: ClassVar[str] = "model-configuration-unchanged"
    title: ClassVar[str] = "The model's configuration is the run's"
    area: ClassVar[str] = "model"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = (
        "Weights trained under one configuration compute something else under another."
    )
    cause: ClassVar[str] = (
        "--config or --base-checkpoint names another file, or the file was edited."
    )
    remedy: ClassVar[str] = "Give the run's config.yaml."
    covers: ClassVar[tuple[str, ...]] = ("model", "frozen_rows")
    AGREES: ClassVar = (
        (StateSummary(facts={"model": {"heads": 8}}), StateSummary(facts={"model": {"heads": 8}})),
    )
    DIFFERS: ClassVar = (
        (StateSummary(facts={"model": {"heads": 8}}), StateSummary(facts={"model": {"heads": 4}})),
    )
