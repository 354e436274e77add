"""The findings of one resume."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from unbroken.checks.check import Check, CheckOutcome, CheckResult, Difference, OnAccept, Severity
from unbroken.checks.state_summary import StateSummary

LEAST_BYTES: Final = 100_000_000
"""For a smaller state the time of the checks themselves dominates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    id: str
    title: str
    outcome: CheckOutcome
    severity: Severity
    numbers: str
    differences: tuple[Difference, ...]
    headline: str
    tolerance: str
    why: str
    cause: str
    remedy: str
    on_accept: OnAccept
    keeps_saved: bool
    """Whether the run can continue with the saved value."""
    follows_from: tuple[str, ...] = ()
    """Checks whose acceptance causes this difference."""
    explains: tuple[str, ...] = ()
    """Checks whose difference follows from this one."""
    area: str = Check.area
    """The area of the run that the check compares."""
    alarm: str = ""
    """The headline of a finding that stops a resume, if it is another one."""

    @property
    def details(self) -> tuple[str, ...]:
        """A line for each difference."""
        return tuple(map(str, self.differences))

    @property
    def is_critical(self) -> bool:
        """Whether continuing would be another training."""
        return self.outcome is not CheckOutcome.AGREES and self.severity is Severity.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings of one resume."""

    findings: tuple[Finding, ...]
    seconds: float
    """Duration of the checks in seconds, including reading the state between them."""
    state_bytes: int = 0
    """Size of the state that was read; 0 if none was."""

    @property
    def seconds_per_gigabyte(self) -> float | None:
        """Seconds per 10**9 bytes of state; None for a small state."""
        large = self.state_bytes >= LEAST_BYTES
        return self.seconds / (self.state_bytes / 1e9) if large else None

    def count(self, outcome: CheckOutcome) -> int:
        """Return the number of checks with an outcome."""
        return sum(each.outcome is outcome for each in self.findings)

    @property
    def critical(self) -> list[Finding]:
        """The findings that forbid to continue."""
        return [each for each in self.findings if each.is_critical]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that differ or can't be compared, but allow to continue."""
        return [
            each
            for each in self.findings
            if each.outcome is not CheckOutcome.AGREES and not each.is_critical
        ]

    def of(self, id_: str) -> Finding:
        """Return the finding of a check.

        Raises:
            KeyError: That check was not made.
        """
        for each in self.findings:
            if each.id == id_:
                return each
        raise KeyError(id_)


def examine(checks: Iterable[Check], saved: StateSummary, live: StateSummary) -> list[Finding]:
    """Run every check; a check that raises is a finding and doesn't end the resume."""
    return [_finding(each, saved, live) for each in checks]


def _finding(check: Check, saved: StateSummary, live: StateSummary) -> Finding:
    try:
        verdict = _compared(check, saved, live)
        severity = _severity(check, verdict, saved)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever goes wrong is a finding
        verdict, severity = _crash(check, error), check.severity
    return Finding(
        id=check.id,
        title=check.title or check.id.replace("-", " ").capitalize(),
        outcome=verdict.outcome,
        severity=severity,
        numbers=verdict.numbers,
        differences=verdict.differences,
        headline=verdict.headline,
        tolerance=check.tolerance,
        why=verdict.why or check.why,
        cause=check.cause,
        remedy=check.remedy,
        on_accept=check.on_accept,
        keeps_saved=check.keeps_saved,
        follows_from=check.follows_from,
        explains=check.explains,
        area=check.area,
        alarm=verdict.alarm,
    )


def _compared(check: Check, saved: StateSummary, live: StateSummary) -> CheckResult:
    result: object = check.compare(saved, live)
    if isinstance(result, CheckResult):
        return result
    wanted = "agrees(...), differs(...) or cannot_compare(...)"
    raise TypeError(f"compare returned {result!r}, which is none of {wanted}")


def _severity(check: Check, verdict: CheckResult, saved: StateSummary) -> Severity:
    if verdict.outcome is CheckOutcome.CANNOT_COMPARE and not saved.is_ours:
        return Severity.WARNING  # written before evidence was gathered: nothing has been lost
    repaired = saved.evidence.get("repaired", {})
    if verdict.outcome is CheckOutcome.CANNOT_COMPARE and check.id in repaired.get("without", ()):
        return Severity.WARNING  # left out by `unbroken repair`, on purpose
    return verdict.severity or check.severity


def _crash(check: Check, error: BaseException) -> CheckResult:
    place = traceback.extract_tb(error.__traceback__)[-1]
    raised = f"{type(error).__name__}: {error}, in {place.name}, line {place.lineno}"
    return CheckResult(
        outcome=CheckOutcome.CANNOT_COMPARE,
        numbers=f"the check itself failed: {check.id}: {raised}",
    )
