"""The order of samples derives from the same seed.

Compares: the seed of the order, and the run's where it is another.

Why: order and randomness are functions of (seed, position); another seed is another shuffle.

Does not: derive the order; `next_samples_identical` does.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class OrderUnchanged(FactsCheck):
    """The order derives from the same seed."""

    id: ClassVar[str] = "order-unchanged"
    title: ClassVar[str] = "The order derives from the same seed"
    area: ClassVar[str] = "order and randomness"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = (
        "Another seed shuffles anew in the middle of an epoch: samples are repeated and left out."
    )
    cause: ClassVar[str] = "--seed was given, or its default changed."
    remedy: ClassVar[str] = "Leave out --seed, or give the run's."
    covers: ClassVar[tuple[str, ...]] = ("order.seed", "order.run_seed")
    AGREES: ClassVar = (
        (StateSummary(facts={"order": {"seed": 7}}), StateSummary(facts={"order": {"seed": 7}})),
    )
    DIFFERS: ClassVar = (
        (StateSummary(facts={"order": {"seed": 7}}), StateSummary(facts={"order": {"seed": 8}})),
        (
            StateSummary(facts={"order": {"seed": 7, "run_seed": 1}}),
            StateSummary(facts={"order": {"seed": 7}}),
        ),
    )
