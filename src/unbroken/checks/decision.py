"""Decides what follows from a report: continue, ask, or refuse. A pure function."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from unbroken.checks.check import CheckOutcome, OnAccept
from unbroken.checks.report import Finding, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a report comes to under what was accepted beforehand."""

    use_new: tuple[Finding, ...]
    """Accepted by id: the new value is used from the next step on."""
    use_saved: tuple[Finding, ...]
    """The saved value is used: accepted as such, or if the run continues in spite of the finding."""
    blocking: tuple[Finding, ...]
    """Critical and not accepted."""
    is_confirmable: bool = True
    """False if the live objects have no saved values to use."""

    @property
    def goes_on(self) -> bool:
        """Whether no finding blocks the resume."""
        return not self.blocking

    @property
    def can_be_confirmed(self) -> bool:
        """Whether the user may continue: every blocking finding has a saved value to use."""
        return self.is_confirmable and all(each.keeps_saved for each in self.blocking)

    def without_confirmation(self) -> Decision:
        """Return the same decision without the option to continue."""
        return replace(self, is_confirmable=False)


def decide(report: Report, accepted: Collection[str] = ()) -> Decision:
    """Sort the findings by which value will be used.

    Args:
        report: The findings.
        accepted: Ids that were accepted beforehand.
    """
    use_new: list[Finding] = []
    use_saved: list[Finding] = []
    blocking: list[Finding] = []
    acts: set[str] = set()
    """Ids whose new value is used; findings that follow from one are included."""
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
