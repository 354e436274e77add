"""When a save is due: on multiples of completed steps, or after minutes."""

from __future__ import annotations

import time

import pytest

from unbroken.loop.due import SaveDue


def test_due_on_multiples_of_completed_steps() -> None:
    """Intervals stay on their multiples, whenever the process was started."""
    due = SaveDue(every=3, minutes=0)
    assert [3, 6, 9] == [step for step in range(1, 11) if due.is_due(step)]


def test_never_when_neither_is_asked_for() -> None:
    """Zero is never, for steps as for minutes."""
    due = SaveDue(every=0, minutes=0)
    assert not any(due.is_due(step) for step in range(1, 100))


def test_due_after_minutes_since_the_last_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock runs from the start, then from each save, and does not look at the calendar."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    due = SaveDue(every=0, minutes=2, _since=now)
    now += 119.0
    assert not due.is_due(1)
    now += 1.0
    assert due.is_due(1)
    due.begun()
    assert not due.is_due(2)
    due.saved()
    now += 120.0
    assert due.is_due(3)
