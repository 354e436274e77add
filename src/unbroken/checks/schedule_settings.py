"""The settings of schedules: what of their state the code asks for, and what moves as they advance."""

from __future__ import annotations

from typing import Any

from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.state.facts import ABSENT

AT_BIRTH = "schedules_at_birth"
"""Name of the settings, in the evidence of a checkpoint."""

OF_RUN, OF_LOOP = "schedule", "schedule of the loop"
"""Kinds of parts: a schedule that the run moves with each update, and one that the loop moves."""

COUNTERS = frozenset(
    {
        "updates", "last_epoch", "_step_count", "_last_lr", "T_cur", "T_i", "best",
        "num_bad_epochs", "cooldown_counter", "_get_lr_called_within_step", "_is_initial",
    }
)  # fmt: skip
"""State that changes as a schedule advances."""


def changed_settings(saved: StateSummary, built: StateSummary) -> set[str]:
    """Return the paths of the settings that the code asks for now, or no more, and otherwise before.

    Not those of a schedule that was saved before its settings were known: of a loop, by an earlier version.
    """
    known = saved.of_kind(OF_RUN, OF_LOOP)
    before = settings_asked_for(saved)
    now = {path: each for path, each in settings_asked_for(built).items() if is_below(path, known)}
    return {
        path
        for path in before.keys() | now.keys()
        if repr(before.get(path, ABSENT)) != repr(now.get(path, ABSENT))
    }


def settings_asked_for(seen: StateSummary) -> dict[str, Any]:
    """Return by path the settings of schedules that the code asked for, as far as that is known."""
    born: dict[str, Any] | None = seen.evidence.get(AT_BIRTH)
    if born is not None:
        return born
    parts = seen.of_kind(OF_RUN, OF_LOOP)
    return {
        path: each
        for path, each in seen.values.items()
        if is_below(path, parts) and not moves(path)
    }


def moves(path: str) -> bool:
    """Return whether a value of a schedule changes as it advances."""
    return any(key in COUNTERS for key in path.split("."))
