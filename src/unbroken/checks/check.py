"""The base class of checks: a declaration, one pure comparison, and examples of both outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from unbroken.checks.state_summary import StateSummary
from unbroken.state.facts import ABSENT


class CheckOutcome(StrEnum):
    """The outcome of a check. What could not be compared does not count as agreeing."""

    AGREES = "agrees"
    DIFFERS = "differs"
    CANNOT_COMPARE = "cannot compare"


class Severity(StrEnum):
    """How serious a difference is."""

    WARNING = "warning"
    """The run continues; the difference is shown."""
    CRITICAL = "critical"
    """Continuing would be another training."""


class OnAccept(StrEnum):
    """Which value is used from the next step on when the user accepts the difference by its id."""

    KEEP_SAVED = "keep saved"
    TAKE_NEW = "take new"
    NEVER = "never"


class Stage(StrEnum):
    """When a check is run."""

    BEFORE = "before"
    """Before anything is restored: facts and structure."""
    AFTER = "after"
    """On the restored objects."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, as data: code decides by these fields, never by the text."""

    path: str
    """The dotted name of a fact, the path of a leaf, or the name of a file."""
    saved: Any = ABSENT
    live: Any = ABSENT
    text: str = ""
    """The line in a report, if not `path is live, was saved`."""

    def __str__(self) -> str:
        """Return the line in a report."""
        if self.text:
            return self.text
        if self.saved is ABSENT and self.live is ABSENT:
            return self.path
        return f"{self.path} is {self.live!r}, was {self.saved!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one comparison."""

    outcome: CheckOutcome
    numbers: str
    """What was compared, in one line."""
    differences: tuple[Difference, ...] = ()
    """The differences."""
    headline: str = ""
    """The first sentence in the report; empty for the check's title."""
    alarm: str = ""
    """The headline of a finding that stops a resume, if it is another one."""
    severity: Severity | None = None
    """The severity, if not the one the check declares."""
    why: str = ""
    """Why it matters, if not what the check declares."""

    def __post_init__(self) -> None:
        """Convert a string to an outcome; anything else raises, so that it can't pass for agreement."""
        object.__setattr__(self, "numbers", str(self.numbers))
        object.__setattr__(self, "outcome", CheckOutcome(self.outcome))
        if self.severity is not None:
            object.__setattr__(self, "severity", Severity(self.severity))


def agrees(numbers: str, headline: str = "") -> CheckResult:
    """Return the result that both are the same; a headline is shown as a note."""
    return CheckResult(outcome=CheckOutcome.AGREES, numbers=numbers, headline=headline)


def differs(
    numbers: str,
    *found: Difference | str,
    headline: str = "",
    alarm: str = "",
    severity: Severity | None = None,
) -> CheckResult:
    """Return the result that they differ.

    Args:
        numbers: What differs, in one line.
        found: The differences; a string is only a line in the report.
        headline: The first sentence in the report; empty for the check's title.
        alarm: The headline of a finding that stops a resume, if it is another one.
        severity: The severity, if not the one the check declares.
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


def rate_mismatch(result: CheckResult, share: float) -> CheckResult:
    """Return a difference of learning rates in the words that users know; `share` of the saved rate."""
    headline = f"CRITICAL: LR mismatch ({100 * share:.1f}% difference)"
    return replace(result, headline=headline, alarm="CRITICAL: LR mismatch detected!")


def cannot_compare(why: str, severity: Severity | None = Severity.WARNING) -> CheckResult:
    """Return the result that one side is missing.

    Args:
        why: What is missing.
        severity: A warning if that is to be expected; None, the severity that the check declares,
            if a checkpoint should have it.
    """
    return CheckResult(outcome=CheckOutcome.CANNOT_COMPARE, numbers=why, severity=severity)


class Check(ABC):
    """One comparison of a saved run with the live one; subclass it, and pass it to `Run(checks=[...])`.

    An id and `compare` are enough. The other attributes are texts for the report, and what follows.
    """

    id: str
    """Stable, in lower case with dashes; what `accept=[...]` names."""
    severity: Severity = Severity.CRITICAL
    """What a difference costs."""
    on_accept: OnAccept = OnAccept.NEVER
    """Which value is used from the next step on when the difference is accepted."""
    keeps_saved: bool = False
    """Whether a run can continue with the saved value although another was requested."""
    stage: Stage = Stage.AFTER
    """When it is run."""
    title: str = ""
    """A sentence that is true if it agrees; empty for the id in words."""
    area: str = "added checks"
    """The area of a run, such as `weights`; a report counts by it which checks agree."""
    tolerance: str = "exact"
    """`exact`, or the largest difference and why one must be allowed."""
    compares: str = ""
    """What it compares, for the page in the docs."""
    why: str = "A difference may make it another training."
    """What would go wrong if a difference were ignored."""
    cause: str = "Something was changed since the save."
    """The most likely cause of a difference."""
    remedy: str = "Start as the run was started before."
    """What to do, as one imperative sentence."""
    does_not: str = ""
    """What it can't see, for the page in the docs."""
    explains: tuple[str, ...] = ()
    """Checks whose difference follows from a difference here; the report lists them below it."""
    follows_from: tuple[str, ...] = ()
    """Checks whose acceptance causes this difference, which is then accepted with them."""
    covers: tuple[str, ...] = ()
    """Dotted names of the facts it compares; no other check then compares them."""
    AGREES: tuple[tuple[StateSummary, StateSummary], ...] = ()
    """Examples: pairs (saved, live) that agree."""
    DIFFERS: tuple[tuple[StateSummary, StateSummary], ...] = ()
    """Examples: pairs that differ."""

    @abstractmethod
    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the two; the method must be fast and pure."""


def wrong_examples(check: Check) -> list[str]:
    """Return a line for each example with another outcome than declared."""
    wanted = [
        *((f"AGREES[{i}]", CheckOutcome.AGREES, each) for i, each in enumerate(check.AGREES)),
        *((f"DIFFERS[{i}]", CheckOutcome.DIFFERS, each) for i, each in enumerate(check.DIFFERS)),
    ]
    found = [(name, outcome, check.compare(*pair)) for name, outcome, pair in wanted]
    return [
        f"{check.id}: {name} has the outcome {str(result.outcome)!r}: {result.numbers}"
        for name, outcome, result in found
        if result.outcome is not outcome
    ]
