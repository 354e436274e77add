"""The comparison that most checks on facts share: equal, fact for fact."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unbroken.checks.check import Check, CheckResult, Difference, agrees, cannot_compare, differs
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import differences


class FactsCheck(Check):
    """A check on the facts in `covers`, each equal to what it was.

    Values are compared in their encoded form: `1`, `1.0` and `True` differ, NaN is itself.

    Args:
        free: Dotted names of facts whose change is only noted.
    """

    def __init__(self, free: Collection[str] = ()) -> None:
        self.free = free

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every fact below `covers`."""
        before, now = (
            {name: each for name, each in facts.items() if not is_below(name, self.free)}
            for facts in (saved.facts_below(self.covers), live.facts_below(self.covers))
        )
        return compare_facts(before, now)


def compare_facts(saved: dict[str, Any], live: dict[str, Any]) -> CheckResult:
    """Compare facts by name; those of one side only differ from `absent`."""
    if not saved and not live:
        return agrees("neither has any")
    if not saved:
        return cannot_compare("the checkpoint does not say", severity=None)
    changed = [Difference(each.name, each.saved, each.live) for each in differences(saved, live)]
    if not changed:
        return agrees(
            f"{len(saved)} equal" if len(saved) > 1 else shown(next(iter(saved.values())))
        )
    first = (
        str(changed[0]) if len(changed) == 1 else f"{len(changed)} of {len(saved | live)} differ"
    )
    return differs(first, *changed)


def shown(value: Any, most: int = 48) -> str:
    """Return a value in short."""
    text = "none" if value is None or value == [] else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
