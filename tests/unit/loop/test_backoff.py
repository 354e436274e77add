"""What failed is tried again after pauses that grow, and at once when it has succeeded."""

from __future__ import annotations

import time

import pytest

from unbroken.loop.backoff import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Backoff


def test_pauses_are_doubled_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try that fails when it is due makes the next pause twice as long."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff, pauses = Backoff(), []
    for _ in range(8):
        pauses.append(backoff.failed())
        now += pauses[-1]
    assert [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0] == pauses
    assert (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) == (pauses[0], pauses[-1])


def test_a_failure_in_between_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next try is due another failure neither moves it nor makes the pause longer."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff = Backoff()
    backoff.failed()
    now = 5.0
    assert 10.0 == backoff.failed()
    assert not backoff.is_due
    now = 15.0
    assert backoff.is_due


def test_a_success_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it nothing waits, and the next failure has the first pause."""
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    backoff = Backoff()
    backoff.failed()
    assert backoff.has_failed
    backoff.succeeded()
    assert (False, True) == (backoff.has_failed, backoff.is_due)
    assert FIRST_PAUSE_SECONDS == backoff.failed()
