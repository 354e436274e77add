"""All other facts are unchanged.

Compares: all facts that no other check compares and that may not change.

Why: a fact is declared because it determines the training.

Does not: know what the facts of your own loop mean; it compares their values.
"""

from __future__ import annotations

from dataclasses import replace

from unbroken.checks.check import Check, CheckResult, OnAccept, Severity, Stage
from unbroken.checks.fact_check import compare_facts
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import told_then


class OtherFactsUnchanged(Check):
    """All other facts are unchanged.

    Args:
        answered_for: Dotted names of facts that other checks compare, or that may change.
    """

    id = "other-facts-unchanged"
    title = "All other facts are unchanged"
    area = "settings"
    severity = Severity.CRITICAL
    on_accept = OnAccept.TAKE_NEW
    stage = Stage.BEFORE
    why = "A fact is declared because it determines the training."
    cause = "The run was started with other settings or files than before."
    remedy = 'Give the run\'s values in `facts=`, or use the new ones with accept=["other-facts-unchanged"].'
    AGREES = ((StateSummary(facts={"mixup": 0.1}), StateSummary(facts={"mixup": 0.1})),)
    DIFFERS = (
        (StateSummary(facts={"mixup": 0.1}), StateSummary(facts={"mixup": 0.2})),
        (StateSummary(facts={"mixup": 0.1}), StateSummary()),
    )

    def __init__(self, answered_for: tuple[str, ...] = ()) -> None:
        self.answered_for = answered_for

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare what is left."""
        live = replace(live, facts=told_then(saved.facts, live.facts))
        before, now = (
            {name: value for name, value in each.all_facts() if self._is_mine(name)}
            for each in (saved, live)
        )
        return compare_facts(before, now)

    def _is_mine(self, name: str) -> bool:
        return bool(name) and not is_below(name, self.answered_for)
