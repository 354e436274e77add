"""Everything else the run says of itself is unchanged.

Compares: all facts that no other check answers for and that were not declared as free to change.

Why: a fact is declared because it decides the training.

Does not: know what the facts of your own loop mean; it compares their values.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage
from unbroken.checks.facts import compare_facts
from unbroken.checks.state_summary import StateSummary, is_below


class OtherFactsUnchanged(Check):
    """Everything else the run says of itself is unchanged.

    Args:
        answered_for: Dotted names of facts that other checks compare, or that may change.
    """

    id: ClassVar[str] = "other-facts-unchanged"
    title: ClassVar[str] = "Everything else the run says of itself is unchanged"
    area: ClassVar[str] = "settings"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.TAKE_NEW
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "A fact is declared because it decides the training."
    cause: ClassVar[str] = "The run is started with other settings or files than before."
    remedy: ClassVar[str] = "Give the run's, or take the new with --accept other-facts-unchanged."
    AGREES: ClassVar = ((StateSummary(facts={"mixup": 0.1}), StateSummary(facts={"mixup": 0.1})),)
    DIFFERS: ClassVar = (
        (StateSummary(facts={"mixup": 0.1}), StateSummary(facts={"mixup": 0.2})),
        (StateSummary(facts={"mixup": 0.1}), StateSummary()),
    )

    def __init__(self, answered_for: tuple[str, ...] = ()) -> None:
        self.answered_for = answered_for

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare what is left."""
        before, now = (
            {name: value for name, value in each.all_facts() if self._is_mine(name)}
            for each in (saved, live)
        )
        return compare_facts(before, now)

    def _is_mine(self, name: str) -> bool:
        return bool(name) and not is_below(name, self.answered_for)
