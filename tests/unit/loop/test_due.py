"""When a save is due: on multiples of completed steps, or after minutes."""

from __future__ import annotations

import time

import pytest

from unbroken.errors import SaveFailed
from unbroken.loop.due import LOOK_SECONDS, SaveDue

REFUSED = SaveFailed("The disk is full.", "The work is at risk.", "Free space.")


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
    due = SaveDue(every=0, minutes=2, _begun=now, _good=now)
    now += 119.0
    assert not due.is_due(1)
    now += 1.0
    assert due.is_due(1)
    due.begun()
    assert not due.is_due(2)
    due.saved()
    now += 120.0
    assert due.is_due(3)


def test_the_risk_is_counted_from_the_last_save_that_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not from the one that failed; and after one that succeeded the count begins anew."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    due = SaveDue(every=0, minutes=50, max_lost_minutes=60, _begun=now, _good=now)
    now = 50 * 60.0
    due.begun()
    due.failed(REFUSED)
    now = 55 * 60.0
    due.begun()
    due.saved()
    now = 114 * 60.0
    due.begun()
    due.failed(REFUSED)
    now = 116 * 60.0
    with pytest.raises(SaveFailed, match="61 minutes of work are at risk"):
        due.failed(REFUSED)


def test_the_last_save_is_tried_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """With growing pauses, in which a stop is still honoured; then the run has ended well."""
    now, pauses, failures = 0.0, [], 2

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def save() -> None:
        nonlocal failures
        pauses.append(now)
        failures -= 1
        if failures >= 0:
            raise REFUSED

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    due = SaveDue(every=0, minutes=0, _begun=now, _good=now)
    looks: list[float] = []
    due.until_saved(save, lambda _: looks.append(now))
    assert [0.0, 15.0, 45.0] == pauses
    assert 45 / LOOK_SECONDS == len(looks)


def test_a_try_in_between_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation that saves while the disk is full doesn't put the planned try off."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    due = SaveDue(every=1, minutes=0, _begun=now, _good=now)
    for second in range(15):
        now = float(second)
        due.failed(REFUSED)
    assert not due.is_due(1)
    now = 15.0
    assert due.is_due(2)


def test_the_last_save_is_not_tried_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """When more is at risk than may be lost, the run ends."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def save() -> None:
        raise REFUSED

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    due = SaveDue(every=0, minutes=0, max_lost_minutes=5, _begun=now, _good=now)
    with pytest.raises(SaveFailed, match="at risk"):
        due.until_saved(save, lambda _: None)
    assert 5 * 60 < now < 10 * 60
