"""A report as lines for a person: what is critical first, then every check, the verdict last.

Pure: nothing is printed here.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from unbroken.checks.check import CheckOutcome, OnAccept
from unbroken.checks.decision import Decision
from unbroken.checks.report import Finding, Report
from unbroken.checks.root_cause import Cause, causes
from unbroken.report.symbols import legible

BANNER: Final = "=" * 80
TAG: Final = "[Resume Validation]"
MOST_DETAILS: Final = 10
"""Lines of one finding that are shown; the saved report and the JSON have all."""
MOST_NUMBERS: Final = 100
"""Characters of the numbers in the table."""
INDENT: Final = "   "


def render(
    report: Report,
    decision: Decision,
    *,
    encoding: str | None = "utf-8",
    commands: Mapping[str, str] | None = None,
    most_details: int | None = MOST_DETAILS,
    directory: Path | None = None,
) -> list[str]:
    """Return the lines of a report.

    Args:
        report: What the checks found.
        decision: What follows from it.
        encoding: Of the stream the lines are for; signs it can't show become ASCII.
        commands: By the id of a finding, the exact command that goes on in spite of it.
        most_details: Lines of one finding that are shown; None for all.
        directory: The run's, for the command that collects what somebody needs to help.
    """
    groups = causes(report)
    lines = [BANNER, f"{TAG} Running consistency checks...", BANNER]
    for cause in groups:
        if _forbids(cause, decision):
            lines += [*_block(cause, decision, commands or {}, most_details), ""]
    lines += _table(report.findings)
    lines += _notes(report.findings)
    for cause in groups:
        if not _forbids(cause, decision):
            lines += _allowed(cause, decision, most_details)
    lines += [summary(report), *_verdict(report, decision, directory), BANNER]
    return [legible(each, encoding) for each in lines]


def summary(report: Report) -> str:
    """Return the counts and the time, in one line; of a large state also the time for its size."""
    counts = [
        f"{report.count(CheckOutcome.AGREES)} agree",
        f"{report.count(CheckOutcome.DIFFERS)} differ",
        f"{report.count(CheckOutcome.CANNOT_COMPARE)} cannot compare",
    ]
    pace = report.seconds_per_gigabyte
    per_size = "" if pace is None else f", {pace:.1f} s/GB"
    return f"{', '.join(counts)}; {report.seconds:.1f} s{per_size}"


def sentence(finding: Finding) -> str:
    """Return what a finding says, as one line that begins with its severity."""
    if finding.headline:
        return _flat(finding.headline)
    severity = "CRITICAL" if finding.is_critical else "WARNING"
    holds = "Could not be checked" if finding.outcome is CheckOutcome.CANNOT_COMPARE else "Not true"
    return f"{severity}: {holds}: {finding.title} ({_short(_flat(finding.numbers))})"


def what_acts(finding: Finding, decision: Decision) -> str:
    """Say which value acts from the next step on; empty where there is nothing to choose."""
    if finding in decision.use_new:
        return "The new value acts from the next step on; this is recorded in the run's history."
    if finding in decision.use_saved:
        return "The saved value is kept; the new one doesn't act."
    return ""


def _forbids(cause: Cause, decision: Decision) -> bool:
    return any(each in decision.blocking for each in (cause.lead, *cause.follows))


def _block(
    cause: Cause, decision: Decision, commands: Mapping[str, str], most_details: int | None
) -> list[str]:
    """Return a cause with all that a person needs to go on, and what follows from it."""
    lead = cause.lead
    rows = [
        _alarm(lead, decision),
        *_labelled("Found", [_flat(lead.numbers), *_details(lead, most_details)]),
        *_labelled("Why it matters", [lead.why]),
        *_labelled("Likely cause", [cause.because]),
        *_labelled("To go on", _way_on(lead, decision, commands)),
    ]
    if cause.follows:
        rows.append(f"{INDENT}What follows from it:")
    for each in cause.follows:
        rows += [
            f"{INDENT}{_alarm(each, decision)}",
            f"{INDENT * 2}{each.id}: {_flat(each.numbers)}",
        ]
        further = [*_details(each, most_details), what_acts(each, decision)]
        rows += [f"{INDENT * 2}{row}" for row in further if row]
    return rows


def _alarm(finding: Finding, decision: Decision) -> str:
    """Return the line that users look for: `CRITICAL: LR mismatch detected!`, without numbers."""
    if finding not in decision.blocking:
        return _remark(finding)
    said, _, numbers = sentence(finding).partition(" (")
    if finding.headline:
        known = said.startswith("CRITICAL: ") and numbers
        said = f"{said} detected!" if known else _flat(finding.headline)
    return f"🚨 {said}"


def _way_on(finding: Finding, decision: Decision, commands: Mapping[str, str]) -> list[str]:
    acts = what_acts(finding, decision)
    if acts:
        return [acts]
    rows = [finding.remedy]
    if finding.id in commands:
        rows.append(commands[finding.id])
    elif finding.on_accept is not OnAccept.NEVER:
        rows.append(f'run.resume(..., accept=["{finding.id}"])')
    if finding in decision.blocking and decision.can_be_confirmed:
        rows.append("Going on without it keeps the saved value.")
    return rows


def _labelled(label: str, rows: Iterable[str]) -> list[str]:
    """Put a label before the first of some rows, and the others below it."""
    named = [f"{label}:", *("" for _ in rows)]
    return [
        f"{INDENT}{name:<16}{text}".rstrip()
        for name, text in zip(named, rows, strict=False)
        if text
    ]


def _details(finding: Finding, most: int | None) -> list[str]:
    rows = [_flat(each) for each in finding.details]
    rows = [each for each in rows if each != _flat(finding.numbers)]
    if most is None or len(rows) <= most:
        return rows
    return [*rows[:most], f"and {len(rows) - most} more"]


def _table(findings: Iterable[Finding]) -> list[str]:
    """Return an aligned line for each check, the worst last."""
    ordered = sorted(findings, key=_badness)
    numbers = [_short(_flat(each.numbers)) for each in ordered]
    widths = (
        max((len(each.title) for each in ordered), default=0),
        min(40, max((len(each) for each in numbers), default=0)),
    )
    return [
        f"{each.outcome:<14}  {each.title:<{widths[0]}}  {text:<{widths[1]}}  {each.tolerance}"
        for each, text in zip(ordered, numbers, strict=True)
    ]


def _badness(finding: Finding) -> tuple[bool, bool, bool]:
    agrees = finding.outcome is CheckOutcome.AGREES
    return not agrees, finding.is_critical, finding.outcome is CheckOutcome.DIFFERS


def _notes(findings: Iterable[Finding]) -> list[str]:
    """Return what is worth a line although it agrees."""
    return [
        _flat(each.headline)
        for each in findings
        if each.outcome is CheckOutcome.AGREES and each.headline
    ]


def _allowed(cause: Cause, decision: Decision, most_details: int | None) -> list[str]:
    """Return what differs and may, or was accepted, and which value acts."""
    lines = []
    for each in (cause.lead, *cause.follows):
        why = each.why if each is cause.lead else ""  # what follows is no trouble of its own
        rows = [*_details(each, most_details), why, what_acts(each, decision)]
        lines += [_remark(each), *(f"{INDENT}{row}" for row in rows if row)]
    return lines


def _remark(finding: Finding) -> str:
    """Return the line of what differs and doesn't stand in the way."""
    if finding.is_critical:
        return f"ALLOWED: Not true: {finding.title} ({_flat(finding.numbers)})"
    return sentence(finding)


def _help(directory: Path | None) -> str:
    """Return how to ask for help, with the run's directory as a shell takes it."""
    if directory is None:
        return (
            "`unbroken bundle DIR` collects what somebody needs to help (DIR: the run's directory)."
        )
    name = str(directory)
    quoted = subprocess.list2cmdline([name]) if sys.platform == "win32" else shlex.quote(name)
    return f"`unbroken bundle {quoted}` collects what somebody needs to help."


def _verdict(report: Report, decision: Decision, directory: Path | None) -> list[str]:
    if decision.blocking:
        said = [f"  - {sentence(each)}" for each in decision.blocking]
        if decision.can_be_confirmed:
            said.append("Going on keeps the saved values.")
        return [_help(directory), f"{TAG} ❌ VALIDATION FAILED", *said]
    differing = [each.id for each in report.findings if each.outcome is CheckOutcome.DIFFERS]
    if differing:
        return [f"{TAG} ✅ PASSED: what differs may, or was accepted ({', '.join(differing)})"]
    return [f"{TAG} ✅ ALL CHECKS PASSED"]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    return text if len(text) <= MOST_NUMBERS else f"{text[: MOST_NUMBERS - 1]}…"
