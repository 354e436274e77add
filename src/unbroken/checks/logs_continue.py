"""The logs are complete.

Compares: the journal with its length and last line at the save; and the files with curves under
`logs/`: each exists, and none is shorter.

Why: a journal that is missing, truncated or of another run proves nothing and has no trend.

Does not: read lines in the middle of the journal, or logs elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary

JOURNAL = "journal.jsonl"
"""The path of a difference in the journal."""

_NOTED: dict[str, Any] = {"journal_bytes": 900, "line": "ab", "step": 9, "curves": {"a": 70}}


def _with(**logs: Any) -> StateSummary:
    return StateSummary(evidence={"logs": {**_NOTED, **logs}})


class LogsContinue(Check):
    """The logs are complete."""

    id = "logs-continue"
    title = "The logs are complete"
    area = "logs"
    severity = Severity.WARNING
    on_accept = OnAccept.NEVER
    why = (
        "Without the journal's lines repeated steps can't be compared, and the watch has no trend."
    )
    cause = "Files were deleted, truncated or restored from an older copy, or only the checkpoint was moved."
    remedy = (
        "Restore journal.jsonl and logs/ of the run before you continue, if you have them; the "
        "training itself doesn't need them."
    )
    AGREES = (
        (_with(), _with()),
        (_with(), _with(journal_bytes=1200, step=12, curves={"a": 90, "b": 10})),
    )
    DIFFERS = (
        (_with(), _with(journal_bytes=500, step=5, line="cd")),
        (_with(), _with(journal_bytes=0, step=0, line="")),
        (_with(), _with(journal_bytes=1200, step=12, line="cd")),
        (_with(), _with(curves={})),
        (_with(), _with(curves={"a": 60})),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the journal, then the files with curves."""
        noted, found = (each.evidence.get("logs") for each in (saved, live))
        if not isinstance(noted, Mapping) or not isinstance(found, Mapping):
            return cannot_compare("the checkpoint records nothing about the logs")
        details = [*_of_journal(noted, found), *_of_curves(noted["curves"], found["curves"])]
        if details:
            return differs(str(details[0]), *details)
        count = len(noted["curves"])
        return agrees(f"journal up to step {found['step']:,}, {count} files of curves")


def _of_journal(noted: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    if not found["journal_bytes"] and noted["journal_bytes"]:
        return [_journal(f"is missing; it had the steps up to {noted['step']:,}")]
    if found["journal_bytes"] < noted["journal_bytes"]:
        held = f"it ends at step {found['step']:,}, and had step {noted['step']:,} at the save"
        return [_journal(f"was truncated: {held}")]
    if found["line"] != noted["line"]:
        return [
            _journal(f"is another file: its line of step {noted['step']:,} is not where it was")
        ]
    return []


def _journal(what: str) -> Difference:
    return Difference(JOURNAL, text=f"{JOURNAL} {what}")


def _of_curves(noted: Mapping[str, int], found: Mapping[str, int]) -> list[Difference]:
    details = []
    for name, size in noted.items():
        path = f"logs/{name}"
        if name not in found:
            details.append(Difference(path, saved=size, text=f"{path} is missing"))
        elif found[name] < size:
            text = f"{path} was truncated: {found[name]:,} bytes, had {size:,}"
            details.append(Difference(path, size, found[name], text))
    return details
