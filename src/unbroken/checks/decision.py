"""What follows from a report: go on, ask, or refuse. Pure, so that every case is a test."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from unbroken.checks.check import OnAccept, Outcome
from unbroken.checks.report import Finding, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a report comes to under what was accepted beforehand."""

    taken: tuple[Finding, ...]
    """Accepted by id: the new value acts from the next step on."""
    kept: tuple[Finding, ...]
    """The saved value acts: accepted as such, or what going on in spite of the finding means."""
    open: tuple[Finding, ...]
    """Critical and not accepted."""
    is_confirmable: bool = True
    """False where the live objects hold no saved values that could act."""

    @property
    def goes_on(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.open

    @property
    def can_be_confirmed(self) -> bool:
        """Whether a person may let it go on: every open finding has a saved value that acts then."""
        return self.is_confirmable and all(each.keeps_saved for each in self.open)

    def without_confirmation(self) -> Decision:
        """Return the same decision where nobody may let it go on."""
        return replace(self, is_confirmable=False)


def decide(report: Report, accepted: Collection[str] = ()) -> Decision:
    """Sort the findings by what will act.

    Args:
        report: The findings.
        accepted: Ids a person accepted beforehand.
    """
    taken: list[Finding] = []
    kept: list[Finding] = []
    still_open: list[Finding] = []
    acts: set[str] = set()
    """Ids whose new value acts; what follows from one of them acts with it."""
    for each in report.findings:
        if each.outcome is Outcome.AGREES:
            continue
        is_accepted = each.id in accepted or bool(acts.intersection(each.follows_from))
        is_known = each.outcome is Outcome.DIFFERS and not each.is_critical
        if each.on_accept is OnAccept.TAKE_NEW and (
            is_accepted or (is_known and not each.keeps_saved)
        ):
            acts.add(each.id)
            taken.append(each)
        elif each.on_accept is OnAccept.KEEP_SAVED and is_accepted:
            kept.append(each)
        elif each.is_critical:
            still_open.append(each)
        elif is_known and each.keeps_saved:
            kept.append(each)
    return Decision(
        taken=tuple(taken),
        kept=tuple(kept),
        open=tuple(still_open),
    )
