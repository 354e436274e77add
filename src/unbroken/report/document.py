"""A report as plain values and as JSON, for programs."""

from __future__ import annotations

import json
from typing import Any, Final

from unbroken.checks.check import CheckOutcome
from unbroken.checks.decision import Decision
from unbroken.checks.report import Finding, Report
from unbroken.checks.root_cause import causes

FORMAT: Final = 1
"""Increases when a key is removed or changes its meaning, but not for a new key."""


def document(report: Report, decision: Decision) -> dict[str, Any]:
    """Return a report as dicts, lists, strings, numbers and booleans.

    Args:
        report: What the checks found.
        decision: What follows from it.
    """
    return {
        "format": FORMAT,
        "goes_on": decision.goes_on,
        "can_be_confirmed": bool(decision.blocking) and decision.can_be_confirmed,
        "seconds": report.seconds,
        "state_bytes": report.state_bytes,
        "counts": {str(each): report.count(each) for each in CheckOutcome},
        "causes": [
            {
                "lead": each.lead.id,
                "because": each.because,
                "follows": [one.id for one in each.follows],
            }
            for each in causes(report)
        ],
        "open": [each.id for each in decision.blocking],
        "new_value_acts": [each.id for each in decision.use_new],
        "saved_value_acts": [each.id for each in decision.use_saved],
        "findings": [_finding(each) for each in report.findings],
    }


def to_json(report: Report, decision: Decision) -> str:
    """Return a report as JSON, in ASCII, with a line end."""
    return json.dumps(document(report, decision), indent=2, allow_nan=False) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "outcome": str(finding.outcome),
        "severity": str(finding.severity),
        "is_critical": finding.is_critical,
        "headline": finding.headline,
        "numbers": finding.numbers,
        "details": list(finding.details),
        "tolerance": finding.tolerance,
        "why": finding.why,
        "cause": finding.cause,
        "remedy": finding.remedy,
        "on_accept": str(finding.on_accept),
        "keeps_saved": finding.keeps_saved,
    }
