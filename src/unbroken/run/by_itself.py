"""A run that resumes by itself when its first loop begins, tells what it found, and closes at the end."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from unbroken.checks import CheckOutcome, Decision, Finding, Severity
from unbroken.counts import counted
from unbroken.errors import UnbrokenError
from unbroken.run.order import Order
from unbroken.run.resume import ResumeReport
from unbroken.state.facts import OWN_FILES, FactDifference

_log = logging.getLogger("unbroken")


class ByItself(Protocol):
    """A run, as it is resumed and closed."""

    def resume(self) -> ResumeReport:
        """Continue the run, or begin one."""
        ...

    def close(self) -> None:
        """Wait for the last save, and give the directory back."""
        ...


def resume_by_itself(run: ByItself, order: Order) -> Callable[[], None]:
    """Resume a run, log what that came to, and have it closed when the program ends.

    Returns:
        What closes it then.
    """
    report = run.resume()
    tell(report)
    if (note := order.note) and report.rank == 0:
        _log.info("[Data] %s.", note)
    this = weakref.ref(run)

    @atexit.register
    def close() -> None:
        left = this()
        if left is None:
            return
        try:
            left.close()
        except UnbrokenError as error:  # the program has ended, by an error of its own perhaps
            _log.error("%s", error)  # nobody looks for a bug here

    return close


def tell(report: ResumeReport) -> None:
    """Log what a resume came to, on stderr where the program has not said where logs go.

    Where several processes train, the first one does so for all.
    """
    be_heard(report.rank)
    for line in lines_of(report) if report.rank == 0 else ():
        _log.info("%s", line)


def lines_of(report: ResumeReport) -> list[str]:
    """Return what a resume came to, a line each; what agrees is counted."""
    step = f"step {report.position.step:,}"
    if report.outcome == "resumed" and report.checkpoint is not None:
        agree = sum(e.outcome is CheckOutcome.AGREES for e in report.checks.findings)
        found = f"{counted(agree, 'check')} agree"
        first = f"[Resume] goes on at {step}, from {report.checkpoint.name}: {found}"
    else:
        first = f"[Resume] {report.outcome} at {step}"
    if report.steps_to_repeat:
        first += f"; {counted(report.steps_to_repeat, 'step')} to repeat and compare"
    differing = [
        each
        for each in report.checks.findings
        if each.outcome is CheckOutcome.DIFFERS
        or (each.outcome is CheckOutcome.CANNOT_COMPARE and each.severity is Severity.CRITICAL)
    ]
    return [
        f"{first}.",
        *(f"[Resume] {_told(each, report.decision)}" for each in differing),
        *_changes(report.changed),
        *(f"[Resume] {each}" for each in report.notes),
    ]


def _changes(changed: Sequence[FactDifference]) -> list[str]:
    """Return what changed and may; files of the program's own by name, for their digests tell nothing."""
    files = [each.name.removeprefix(f"{OWN_FILES}.") for each in changed if _is_own_file(each)]
    told = [f"[Resume] {each}" for each in changed if not _is_own_file(each)]
    return [*told, *([f"[Resume] edited since the save: {', '.join(files)}"] if files else [])]


def _is_own_file(change: FactDifference) -> bool:
    """Say whether a change is of one of the program's own files."""
    return change.name.startswith(f"{OWN_FILES}.")


def _told(finding: Finding, decision: Decision) -> str:
    """Return what differs, and which value acts where that is in question."""
    told = finding.headline or f"{finding.title}: {finding.numbers}"
    if any(each.id == finding.id for each in decision.use_saved):
        return f"{told}; the saved value acts (accept=[{finding.id!r}] takes the new one)"
    return told


def be_heard(rank: int = 0) -> None:
    """Show the log on stderr, where the program has not said where logs go; of others their warnings."""
    if not _log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter(f"[rank {rank}] %(message)s" if rank else "%(message)s")
        )
        _log.addHandler(handler)
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.WARNING if rank else logging.INFO)
