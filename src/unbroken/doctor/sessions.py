"""Splits a journal into sessions, one per start, with the details from the history.

A journal may be larger than the memory: it is read line by line, and only the steps around a resume
are kept.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines

WINDOW = 1000
"""Steps before and after a resume to compare."""

ReportProgress = Callable[[int, int], None]
"""`report(done, total)` is called with bytes read."""

Numbered = tuple[int, int, bytes]
"""Step, start and the raw line."""

_WATCHED = ("loss", "lr", "grad_norm", "updates")
_STEP = re.compile(rb'^\{"step": (\d+),')
_START = re.compile(rb'"start": (\d+)\}\r?\n$')


@dataclass(slots=True, kw_only=True)
class JournalSession:
    """The record of one start."""

    number: int
    """Number of the start, from 1; 0 if unknown."""
    step: int | None = None
    """Completed steps at its beginning; None if only the journal has it."""
    first: int = 0
    """First step in the journal."""
    last: int = 0
    """Last one."""
    lines: int = 0
    time: float | None = None
    """When it began, seconds since 1970, UTC."""
    silent_since: float | None = None
    """Time of the last line of the start before."""
    samples: int = 0
    """Samples of the next step that were done at its beginning."""
    resumed_from: str = ""
    facts: Mapping[str, Any] | None = None
    """The arithmetic facts of the start."""
    checks: Mapping[str, Any] = field(default_factory=dict)
    """The findings of the resume's checks, and what was accepted."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Its further lines of the history: watch, replay, diverged, stop."""

    @property
    def begins_at(self) -> int:
        """Steps completed where it began."""
        return self.first - 1 if self.step is None else self.step

    @property
    def was_caught(self) -> bool:
        """Whether it ended because its replay diverged; nothing of it was saved."""
        return any(
            each.get("event") == "diverged" and not each.get("continued") for each in self.events
        )


def read_sessions(
    layout: Layout, report: ReportProgress = lambda _done, _total: None
) -> list[JournalSession]:
    """Return the sessions, in the order of the journal.

    Args:
        layout: The run's directory; nothing is changed.
        report: Called with bytes read.
    """
    starts = _starts_in_history(layout.history)
    sessions: list[JournalSession] = []
    for step, start, _ in numbered_lines(layout.journal, report):
        last = sessions[-1] if sessions else None
        if last is None or last.number != start or step <= last.last:
            known = starts.pop(start, None)
            last = known or JournalSession(number=start)
            last.first = step
            sessions.append(last)
        last.last = step
        last.lines += 1
    return sessions


def numbered_lines(
    path: Path, report: ReportProgress = lambda _done, _total: None
) -> Iterator[Numbered]:
    """Yield (step, start, raw line) of each complete line with a step; others are skipped."""
    if not path.is_file():
        return
    total, done, reported = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        for raw in file:
            done += len(raw)
            if done - reported >= 1 << 22:
                reported = done
                report(done, total)
            if raw.endswith(b"\n") and (found := _numbers(raw)) is not None:
                yield *found, raw
    report(total, total)


def _numbers(raw: bytes) -> tuple[int, int] | None:
    """Return step and start of a line, without parsing the rest of it if it has the usual form."""
    step, start = _STEP.match(raw), _START.search(raw)
    if step and start:
        return int(step[1]), int(start[1])
    line = as_line(raw)
    number, by = line.get("step"), line.get("start", 0)
    return (number, by) if type(number) is int and type(by) is int else None


def as_line(raw: bytes) -> dict[str, Any]:
    """Return a line's content; empty if it is damaged."""
    try:
        line = json.loads(raw)
        is_whole = isinstance(line, dict) and all(
            not isinstance(line.get(name, 0), bool) and float(line.get(name, 0)) is not None
            for name in _WATCHED
        )
    except (ValueError, TypeError, RecursionError, OverflowError):
        return {}
    return line if is_whole else {}


class Around:
    """Decides whether a step is near the beginning of a session.

    Args:
        sessions: All of a run.
    """

    def __init__(self, sessions: list[JournalSession]) -> None:
        self._begins = sorted(each.begins_at for each in sessions)

    def has(self, step: int) -> bool:
        """Return whether a step is at most `WINDOW` steps from the beginning of a session."""
        place = bisect_left(self._begins, step - WINDOW)
        return place < len(self._begins) and self._begins[place] <= step + WINDOW


def _starts_in_history(history: Path) -> dict[int, JournalSession]:
    """Return the sessions in the history, by number of the start."""
    found: dict[int, JournalSession] = {}
    alive: float | None = None
    for line in read_lines(history):
        number, time = line.get("start"), _number(line.get("time"))
        if type(number) is int and line.get("event") == "start":
            found[number] = _session(number, line, alive)
        elif type(number) is int and number in found:
            found[number].events.append(line)
        alive = time if time is not None else alive
    return found


def _session(number: int, line: Mapping[str, Any], alive: float | None) -> JournalSession:
    step, samples = line.get("step"), line.get("samples")
    facts, checks = line.get("computed_with"), line.get("checks")
    return JournalSession(
        number=number,
        step=step if type(step) is int else None,
        time=_number(line.get("time")),
        silent_since=alive,
        samples=samples if type(samples) is int else 0,
        resumed_from=str(line.get("resumed_from") or ""),
        facts=facts if isinstance(facts, dict) else None,
        checks=checks if isinstance(checks, dict) else {},
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
