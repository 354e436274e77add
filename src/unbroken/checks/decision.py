"""What follows from a report: go on, ask, or refuse. Pure, so that every case is a test."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from unbroken.checks.check import CheckOutcome, OnAccept
from unbroken.checks.report import Finding, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a report comes to under what was accepted beforehand."""

    use_new: tuple[Finding, ...]
    """Accepted by id: the new value acts from the next step on."""
    use_saved: tuple[Finding, ...]
    """The saved value acts: accepted as such, or what going on in spite of the finding means."""
    blocking: tuple[Finding, ...]
    """Critical and not accepted."""
    is_confirmable: bool = True
    """False where the live objects hold no saved values that could act."""

    @property
    def goes_on(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.blocking

    @property
    def can_be_confirmed(self) -> bool:
        """Whether a person may let it go on: every blocking finding has a saved value that acts then."""
        return self.is_confirmable and all(each.keeps_saved for each in self.blocking)

    def without_confirmation(self) -> Decision:
        """Return the same decision where nobody may let it go on."""
        return replace(self, is_confirmable=False)


def decide(report: Report, accepted: Collection[str] = ()) -> Decision:
    """Sort the findings by what will act.

    Args:
        report: The findings.
        accepted: Ids a person accepted beforehand.
    """
    use_new: list[Finding] = []
    use_saved: list[Finding] = []
    blocking: list[Finding] = []
    acts: set[str] = set()
    """Ids whose new value acts; what follows from one of them acts with it."""
    for each in report.findings:
        if each.outcome is CheckOutcome.AGREES:
            continue
        is_accepted = each.id in accepted or bool(acts.intersection(each.follows_from))
        is_known = each.outcome is CheckOutcome.DIFFERS and not each.is_critical
        if each.on_accept is OnAccept.TAKE_NEW and (
            is_accepted or (is_known and not each.keeps_saved)
        ):
            acts.add(each.id)
            use_new.append(each)
        elif each.on_accept is OnAccept.KEEP_SAVED and is_accepted:
            use_saved.append(each)
        elif each.is_critical:
            blocking.append(each)
        elif is_known and each.keeps_saved:
            use_saved.append(each)
    return Decision(
        use_new=tuple(use_new),
        use_saved=tuple(use_saved),
        blocking=tuple(blocking),
    )
