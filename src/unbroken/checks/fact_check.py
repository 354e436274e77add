"""A check on facts, declared as data: these facts are unchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Self

from unbroken.checks.check import (
    Check,
    CheckOutcome,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    Stage,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import differences, told_then

Refine = Callable[[CheckResult, StateSummary, StateSummary], CheckResult]


@dataclass(kw_only=True, eq=False)
class FactCheck(Check):
    """A check that the facts in `covers` are unchanged.

    Values are compared in their encoded form: `1`, `1.0` and `True` differ, and NaN equals NaN. The
    other attributes are described at `Check`.
    """

    id: str
    covers: tuple[str, ...]
    """Dotted names of the facts; a name includes all facts below it."""
    example: tuple[Any, Any]
    """Two different values of the first fact."""
    severity: Severity = Severity.CRITICAL
    on_accept: OnAccept = OnAccept.NEVER
    keeps_saved: bool = False
    title: str = ""
    area: str = Check.area
    compares: str = ""
    why: str = ""
    cause: str = ""
    remedy: str = ""
    does_not: str = ""
    explains: tuple[str, ...] = ()
    refine: Refine | None = None
    """Refines the result of a difference, from the result, the saved run and the live one."""
    free: Collection[str] = ()
    """Dotted names of facts whose change is only noted; the run sets it from `may_change`."""
    stage: Stage = field(default=Stage.BEFORE, init=False)

    def __post_init__(self) -> None:
        was, now = (StateSummary(facts=_nested(self.covers[0], each)) for each in self.example)
        self.AGREES = ((was, was),)
        self.DIFFERS = ((was, now),)

    def freed(self, names: Collection[str]) -> Self:
        """Return the same check with these facts allowed to change."""
        other = copy(self)
        other.free = (*self.free, *names)
        return other

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every fact below `covers`."""
        live = replace(live, facts=told_then(saved.facts, live.facts))
        before, now = (
            {name: each for name, each in facts.items() if not is_below(name, self.free)}
            for facts in (saved.facts_below(self.covers), live.facts_below(self.covers))
        )
        result = compare_facts(before, now)
        if self.refine is None or result.outcome is not CheckOutcome.DIFFERS:
            return result
        return self.refine(result, saved, live)


def compare_facts(saved: dict[str, Any], live: dict[str, Any]) -> CheckResult:
    """Compare facts by name; a fact that one side lacks differs from `absent`."""
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
    """Return a shortened text of a value."""
    text = "none" if value is None or value == [] else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _nested(name: str, value: Any) -> dict[str, Any]:
    """Return nested facts with one value under a dotted name."""
    for key in reversed(name.split(".")):
        value = {key: value}
    found: dict[str, Any] = value
    return found
