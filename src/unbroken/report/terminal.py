"""Renders a report as lines: first what differs, then what agrees, and the verdict last.

Nothing is printed here.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from unbroken.checks.check import CheckOutcome, OnAccept
from unbroken.checks.decision import Decision
from unbroken.checks.report import Finding, Report
from unbroken.checks.root_cause import Cause, causes
from unbroken.counts import counted
from unbroken.report.layout import INDENT, USUAL_WIDTH, Row, laid_out

TAG: Final = "[Resume Validation]"
MOST_DETAILS: Final = 10
"""Lines of a finding in the short form; the saved report and the JSON have all."""


def render(
    report: Report,
    decision: Decision,
    *,
    verbose: bool = False,
    width: int | None = None,
    encoding: str | None = "utf-8",
    commands: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> list[str]:
    """Return the lines of a report.

    Findings that differ or can't be compared come first. Those that agree are counted, one line per
    area.

    Args:
        report: What the checks found.
        decision: What follows from it.
        verbose: Show a line for every check and all details of a finding.
        width: Columns of the terminal; longer lines are wrapped. None doesn't wrap.
        encoding: Encoding of the stream; signs it can't show become ASCII.
        commands: By the id of a finding, the command that continues in spite of it.
        directory: The run's directory, for the command `unbroken bundle`.
    """
    groups = causes(report)
    most_details = None if verbose else MOST_DETAILS
    banner = Row("=" * min(width or USUAL_WIDTH, USUAL_WIDTH))
    rows = [banner, Row(f"{TAG} Running consistency checks..."), banner]
    for cause in groups:
        if _forbids(cause, decision):
            rows += [*_block(cause, decision, commands or {}, most_details), Row("")]
    for cause in groups:
        if not _forbids(cause, decision):
            rows += _allowed(cause, decision, most_details)
    rows += _not_compared(report.warnings, most_details)
    rows += _notes(report.findings)
    rows += _every_check(report.findings, width) if verbose else _areas(report.findings)
    rows += [Row(summary(report)), *_verdict(report, decision, directory), banner]
    return laid_out(rows, width, encoding)


def summary(report: Report) -> str:
    """Return the counts and the time in one line; for a large state also the time per size."""
    counts = [
        f"{report.count(CheckOutcome.AGREES)} agree",
        f"{report.count(CheckOutcome.DIFFERS)} differ",
        f"{report.count(CheckOutcome.CANNOT_COMPARE)} cannot compare",
    ]
    pace = report.seconds_per_gigabyte
    per_size = "" if pace is None else f", {pace:.1f} s/GB"
    return f"{', '.join(counts)}; {report.seconds:.1f} s{per_size}"


def sentence(finding: Finding) -> str:
    """Return a finding as one line that begins with its severity."""
    return _flat(finding.headline) or f"{_claim(finding)} ({_flat(finding.numbers)})"


def _claim(finding: Finding) -> str:
    """Return a finding without a headline as a sentence, without its numbers."""
    severity = "CRITICAL" if finding.is_critical else "WARNING"
    holds = "Could not be checked" if finding.outcome is CheckOutcome.CANNOT_COMPARE else "Not true"
    return f"{severity}: {holds}: {finding.title}"


def what_acts(finding: Finding, decision: Decision) -> str:
    """Return which value is used from the next step on; empty if there is no choice."""
    if finding in decision.use_new:
        return "The new value is used from the next step on; this is recorded in the run's history."
    if finding in decision.use_saved:
        return "The saved value is kept; the new one is not used."
    return ""


def _forbids(cause: Cause, decision: Decision) -> bool:
    return any(each in decision.blocking for each in (cause.lead, *cause.follows))


def _block(
    cause: Cause, decision: Decision, commands: Mapping[str, str], most_details: int | None
) -> Iterator[Row]:
    """Yield a cause with the way to continue, and what follows from it."""
    lead = cause.lead
    yield _alarm(lead, decision)
    found = [_flat(lead.numbers), *_details(lead, most_details)]
    yield from _labelled("Found", map(Row, found))
    yield from _labelled("Why it matters", [Row(lead.why)])
    yield from _labelled("Likely cause", [Row(cause.because)])
    yield from _labelled("To go on", _way_on(lead, decision, commands))
    if cause.follows:
        yield Row("What follows from it:", INDENT)
    for each in cause.follows:
        yield _alarm(each, decision).indented(INDENT)
        yield Row(f"{each.id}: {_flat(each.numbers)}", INDENT * 2)
        for text in (*_details(each, most_details), what_acts(each, decision)):
            if text:
                yield Row(text, INDENT * 2)


def _alarm(finding: Finding, decision: Decision) -> Row:
    """Return the headline without numbers, such as `CRITICAL: LR mismatch detected!`."""
    if finding not in decision.blocking:
        return _remark(finding)
    return Row(_flat(finding.alarm or finding.headline) or _claim(finding), "🚨 ")


def _way_on(finding: Finding, decision: Decision, commands: Mapping[str, str]) -> Iterator[Row]:
    acts = what_acts(finding, decision)
    if acts:
        yield Row(acts)
        return
    yield Row(finding.remedy)
    if finding.id in commands:
        yield Row(commands[finding.id], is_command=True)
    elif finding.on_accept is not OnAccept.NEVER:
        yield Row(f'run.resume(..., accept=["{finding.id}"])')
    if finding in decision.blocking and decision.can_be_confirmed:
        yield Row("Continuing without it keeps the saved value.")


def _labelled(label: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows with a label before the first, the others aligned below it."""
    name = f"{label}:"
    for row in rows:
        if row.text:
            yield row.indented(f"{INDENT}{name:<16}")
        name = ""


def _details(finding: Finding, most: int | None) -> list[str]:
    rows = [_flat(each) for each in finding.details]
    rows = [each for each in rows if each != _flat(finding.numbers)]
    if most is None or len(rows) <= most:
        return rows
    return [*rows[:most], f"and {len(rows) - most} more"]


def _areas(findings: Sequence[Finding]) -> Iterator[Row]:
    """Yield an aligned line for each area with checks that agree, in the order of the checks."""
    made = Counter(each.area for each in findings)
    agree = Counter(each.area for each in findings if each.outcome is CheckOutcome.AGREES)
    widest = max(map(len, agree), default=0)
    for area in made:
        if agree[area]:
            of_all = f"{agree[area]} of " if agree[area] != made[area] else ""
            yield Row(f"{area:<{widest}}  {of_all}{counted(made[area], 'check')}", "agrees  ")


def _every_check(findings: Iterable[Finding], width: int | None) -> list[Row]:
    """Return a line for each check, the worst last; aligned if the terminal is wide enough."""
    ordered = sorted(findings, key=_badness)
    numbers = [_flat(each.numbers) for each in ordered]
    titles = max((len(each.title) for each in ordered), default=0)
    figures = min(40, max(map(len, numbers), default=0))
    aligned = [
        Row(f"{each.title:<{titles}}  {text:<{figures}}  {each.tolerance}", _outcome(each))
        for each, text in zip(ordered, numbers, strict=True)
    ]
    if all(len(row.lines(width, None)) == 1 for row in aligned):
        return aligned
    return [
        Row(f"{each.title}: {text} ({each.tolerance})", _outcome(each))
        for each, text in zip(ordered, numbers, strict=True)
    ]


def _outcome(finding: Finding) -> str:
    return f"{finding.outcome:<14}  "


def _badness(finding: Finding) -> tuple[bool, bool, bool]:
    agrees = finding.outcome is CheckOutcome.AGREES
    return not agrees, finding.is_critical, finding.outcome is CheckOutcome.DIFFERS


def _notes(findings: Iterable[Finding]) -> Iterator[Row]:
    """Yield the notes of checks that agree."""
    for each in findings:
        if each.outcome is CheckOutcome.AGREES and each.headline:
            yield Row(_flat(each.headline))


def _not_compared(findings: Iterable[Finding], most_details: int | None) -> Iterator[Row]:
    """Yield findings that could not be compared and don't block the resume."""
    for each in findings:
        if each.outcome is CheckOutcome.CANNOT_COMPARE:
            yield Row(f"{each.title}: {_flat(each.numbers)}", _outcome(each))
            yield from (Row(text, INDENT) for text in _details(each, most_details))


def _allowed(cause: Cause, decision: Decision, most_details: int | None) -> Iterator[Row]:
    """Yield differences that are allowed or accepted, and which value is used."""
    for each in (cause.lead, *cause.follows):
        why = each.why if each is cause.lead else ""  # only the cause has a reason of its own
        yield _remark(each)
        for text in (*_details(each, most_details), why, what_acts(each, decision)):
            if text:
                yield Row(text, INDENT)


def _remark(finding: Finding) -> Row:
    """Return the line of a difference that doesn't block the resume."""
    if finding.is_critical:
        return Row(f"ALLOWED: Not true: {finding.title} ({_flat(finding.numbers)})")
    return Row(sentence(finding))


def _help(directory: Path | None) -> str:
    """Return how to ask for help, with the run's directory quoted for a shell."""
    if directory is None:
        return "`unbroken bundle DIR` collects what others need to help you (DIR: the run's directory)."
    name = str(directory)
    quoted = subprocess.list2cmdline([name]) if sys.platform == "win32" else shlex.quote(name)
    return f"`unbroken bundle {quoted}` collects what others need to help you."


def _verdict(report: Report, decision: Decision, directory: Path | None) -> Iterator[Row]:
    if decision.blocking:
        yield Row(_help(directory))
        yield Row(f"{TAG} ❌ VALIDATION FAILED")
        yield from (Row(sentence(each), "  - ") for each in decision.blocking)
        if decision.can_be_confirmed:
            yield Row("Continuing keeps the saved values.")
        return
    differing = [each.id for each in report.findings if each.outcome is CheckOutcome.DIFFERS]
    if differing:
        yield Row(
            f"{TAG} ✅ PASSED: all differences are allowed or accepted ({', '.join(differing)})"
        )
    else:
        yield Row(f"{TAG} ✅ ALL CHECKS PASSED")


def _flat(text: str) -> str:
    return " ".join(text.split())
