"""Saves a report in the logs of its run, in full."""

from __future__ import annotations

import time
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checks.decision import Decision
from unbroken.checks.report import Report
from unbroken.report.document import to_json
from unbroken.report.terminal import render


def save_report(
    logs: Path, step: int, report: Report, decision: Decision, *, now: float | None = None
) -> Path:
    """Write a report as text and, beside it, as JSON; return the path of the text.

    Args:
        logs: The directory of the run's logs; created if missing.
        step: Number of completed steps.
        report: What the checks found.
        decision: What follows from it.
        now: Seconds since 1970; None for the current time. It is part of the name, in UTC.

    Raises:
        OSError: The files can't be written.
    """
    disk.make_directory(logs)
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    place = _free(logs, f"resume-{step}-{moment}")
    lines = render(report, decision, verbose=True, directory=logs.parent)
    disk.replace_file(place, ("\n".join(lines) + "\n").encode())
    disk.replace_file(place.with_suffix(".json"), to_json(report, decision).encode())
    return place


def _free(logs: Path, name: str) -> Path:
    """Return an unused path, so that two starts within a second keep both reports."""
    place, number = logs / f"{name}.txt", 1
    while place.exists():
        number += 1
        place = logs / f"{name}-{number}.txt"
    return place
