"""Findings and reports from literals: no run, no checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unbroken.checks.catalogue import every_check
from unbroken.checks.check import CheckOutcome, Difference
from unbroken.checks.report import Finding, Report
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS
from unbroken_tts.train.remedies import REMEDIES

CHECKS = {each.id: each for each in every_check(added=TRAINER_CHECKS, advice=REMEDIES)}
"""Those of a training run, in the words of its program."""


def finding(id_: str, numbers: str = "2, was 1", *found: Difference | str, **other: Any) -> Finding:
    """Return a finding of a check that differs, with what the check says of itself."""
    check = CHECKS[id_]
    one = Finding(
        id=id_,
        title=check.title,
        outcome=CheckOutcome.DIFFERS,
        severity=check.severity,
        numbers=numbers,
        differences=tuple(
            each if isinstance(each, Difference) else Difference("", text=each) for each in found
        ),
        headline="",
        tolerance=check.tolerance,
        why=check.why,
        cause=check.cause,
        remedy=check.remedy,
        on_accept=check.on_accept,
        keeps_saved=check.keeps_saved,
        follows_from=check.follows_from,
        explains=check.explains,
        area=check.area,
    )
    return replace(one, **other)


def agreeing(id_: str, numbers: str = "equal") -> Finding:
    """Return a finding that agrees."""
    return finding(id_, numbers, outcome=CheckOutcome.AGREES)


def uncompared(id_: str, numbers: str = "the checkpoint does not say", **other: Any) -> Finding:
    """Return a finding of a check that could not compare."""
    return finding(id_, numbers, outcome=CheckOutcome.CANNOT_COMPARE, **other)


def report(*findings: Finding, seconds: float = 1.9) -> Report:
    """Return a report of these findings."""
    return Report(findings=findings, seconds=seconds)


def whole_report(*findings: Finding, seconds: float = 1.9) -> Report:
    """Return a report of all checks, in their order: these findings, and all others agree."""
    by_id = {each.id: each for each in findings}
    return report(*(by_id.get(id_) or agreeing(id_) for id_ in CHECKS), seconds=seconds)
