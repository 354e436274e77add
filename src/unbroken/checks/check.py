"""What a check is: a declaration, one pure comparison, and examples of both outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unbroken.checks.state_summary import StateSummary
from unbroken.state.facts import ABSENT


class CheckOutcome(StrEnum):
    """Three outcomes, never two: what could not be compared did not agree."""

    AGREES = "agrees"
    DIFFERS = "differs"
    CANNOT_COMPARE = "cannot compare"


class Severity(StrEnum):
    """What a difference costs."""

    WARNING = "warning"
    """The run goes on; the difference is known and shown."""
    CRITICAL = "critical"
    """Going on would be another training."""


class OnAccept(StrEnum):
    """What acts from the next step on when a person accepts the difference by its id."""

    KEEP_SAVED = "keep saved"
    TAKE_NEW = "take new"
    NEVER = "never"


class Stage(StrEnum):
    """When a check can be made."""

    BEFORE = "before"
    """Before anything is restored: facts and structure."""
    AFTER = "after"
    """On the restored objects."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs, as data: code decides by these fields, never by the line."""

    path: str
    """Where it is: the dotted name of a fact, the path of a leaf, the name of a file."""
    saved: Any = ABSENT
    live: Any = ABSENT
    text: str = ""
    """The line for a report, where `path is live, was saved` is not what should be read."""

    def __str__(self) -> str:
        """Return the line for a report."""
        if self.text:
            return self.text
        if self.saved is ABSENT and self.live is ABSENT:
            return self.path
        return f"{self.path} is {self.live!r}, was {self.saved!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one comparison came to."""

    outcome: CheckOutcome
    numbers: str
    """What was compared with what, in one line."""
    differences: tuple[Difference, ...] = ()
    """Each thing that differs."""
    headline: str = ""
    """The sentence that leads the report; empty for the check's title."""
    alarm: str = ""
    """The headline as users look for it where it stops a resume; empty where it is the same."""
    severity: Severity | None = None
    """Where it is not the one the check declares."""
    why: str = ""
    """Why it matters, where the check declares more than this case needs."""

    def __post_init__(self) -> None:
        """Take the words as well, and no others: what is no outcome must not pass for agreement."""
        object.__setattr__(self, "numbers", str(self.numbers))
        object.__setattr__(self, "outcome", CheckOutcome(self.outcome))
        if self.severity is not None:
            object.__setattr__(self, "severity", Severity(self.severity))


def agrees(numbers: str, headline: str = "") -> CheckResult:
    """Return the verdict that both are the same; with a headline, that is worth a note."""
    return CheckResult(outcome=CheckOutcome.AGREES, numbers=numbers, headline=headline)


def differs(
    numbers: str,
    *found: Difference | str,
    headline: str = "",
    alarm: str = "",
    severity: Severity | None = None,
) -> CheckResult:
    """Return the verdict that they are not.

    Args:
        numbers: What differs, in one line.
        found: Each thing that differs; text is a line for the report alone.
        headline: The sentence that leads the report; empty for the check's title.
        alarm: The headline as users look for it where it stops a resume; empty for the same.
        severity: Where it is not the one the check declares.
    """
    return CheckResult(
        outcome=CheckOutcome.DIFFERS,
        numbers=numbers,
        differences=tuple(
            each if isinstance(each, Difference) else Difference("", text=str(each))
            for each in found
        ),
        headline=headline,
        alarm=alarm,
        severity=severity,
    )


def cannot_compare(why: str, severity: Severity | None = Severity.WARNING) -> CheckResult:
    """Return the verdict that one side is missing.

    Args:
        why: What is missing.
        severity: A warning, where that is to be expected; None for what the check declares, where
            a checkpoint of ours should have it.
    """
    return CheckResult(outcome=CheckOutcome.CANNOT_COMPARE, numbers=why, severity=severity)


class Check(ABC):
    """One comparison of a saved run with the live one; subclass it, and hand it to `Run(checks=[...])`.

    An id and `compare` are enough. The other attributes are what a report says and what follows.
    """

    id: str
    """Stable, in lower case with dashes; what `accept=[...]` names."""
    severity: Severity = Severity.CRITICAL
    """What a difference costs."""
    on_accept: OnAccept = OnAccept.NEVER
    """What acts from the next step on when the difference is accepted."""
    keeps_saved: bool = False
    """Whether a run can go on with the saved value although another was asked for."""
    stage: Stage = Stage.AFTER
    """When it is made."""
    title: str = ""
    """A true sentence where it agrees; empty for the id in words."""
    area: str = "added checks"
    """What of a run it looks at, such as `weights`: a report counts by it what agrees."""
    tolerance: str = "exact"
    """`exact`, or the largest difference and why there must be one."""
    compares: str = ""
    """What it compares, for the page in the docs."""
    why: str = "A difference may make it another training."
    """What would go wrong if a difference were ignored."""
    cause: str = "Something was changed since the save."
    """What most likely brought it about."""
    remedy: str = "Start as the run was started before."
    """What to do, as one imperative sentence."""
    does_not: str = ""
    """What it can't see, for the page in the docs."""
    explains: tuple[str, ...] = ()
    """Checks whose difference follows from a difference here; they stand below it in the report."""
    follows_from: tuple[str, ...] = ()
    """Checks whose acceptance brings this difference about: accepted with them."""
    covers: tuple[str, ...] = ()
    """Dotted names of the facts it answers for; no other check then speaks of them."""
    AGREES: tuple[tuple[StateSummary, StateSummary], ...] = ()
    """Examples: pairs (saved, live) that agree."""
    DIFFERS: tuple[tuple[StateSummary, StateSummary], ...] = ()
    """Examples: pairs that differ."""

    @abstractmethod
    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare; nothing is changed, computed at length, read or printed."""


def wrong_examples(check: Check) -> list[str]:
    """Return a line for each example that doesn't come out as the check says; none where all do."""
    wanted = [
        *((f"AGREES[{i}]", CheckOutcome.AGREES, each) for i, each in enumerate(check.AGREES)),
        *((f"DIFFERS[{i}]", CheckOutcome.DIFFERS, each) for i, each in enumerate(check.DIFFERS)),
    ]
    found = [(name, outcome, check.compare(*pair)) for name, outcome, pair in wanted]
    return [
        f"{check.id}: {name} comes out as {str(result.outcome)!r}: {result.numbers}"
        for name, outcome, result in found
        if result.outcome is not outcome
    ]
