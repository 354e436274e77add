"""Trackers that keep what they get in a list, and trainings that are left in their midst."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import unbroken
from support.tracked_training import train

Rows = list[tuple[int, dict[str, float]]]


class Listed:
    """A tracker that keeps its rows in a list, and can't be asked what it has."""

    def __init__(self, rows: Rows | None = None) -> None:
        self.rows: Rows = [] if rows is None else rows
        self.ids: list[str] = []
        self.is_closed = False

    def begin(self, run_id: str, step: int) -> int | None:
        del step
        self.ids.append(run_id)
        return None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.is_closed = True


class Asked(Listed):
    """The same, and it knows the last step that it has."""

    def begin(self, run_id: str, step: int) -> int | None:
        super().begin(run_id, step)
        return max((each for each, _ in self.rows), default=0)


class Failing(Listed):
    """Fails at one of its calls, as without a network."""

    def __init__(self, call: str, rows: Rows | None = None) -> None:
        super().__init__(rows)
        self.call = call
        self.calls = 0

    def _fail(self, call: str) -> None:
        if call == self.call:
            self.calls += 1
            raise ConnectionError("no route to host")

    def begin(self, run_id: str, step: int) -> int | None:
        self._fail("begin")
        return super().begin(run_id, step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step > 5:
            self._fail("log")
        super().log(step, values)

    def close(self) -> None:
        self._fail("close")


class Left(Exception):
    """Ends a training in its midst."""


def lines_of(directory: Path) -> list[dict[str, float]]:
    """Return the lines of a run's journal."""
    return [json.loads(each) for each in (directory / "journal.jsonl").read_text().splitlines()]


def train_until(directory: Path, tracker: unbroken.Tracker, step: int) -> None:
    """Train, and end by an error after a step; what follows the last save is trained again."""
    with pytest.MonkeyPatch.context() as patch:
        log = unbroken.Run.log

        def leave(run: unbroken.Run, **values: object) -> None:
            log(run, **values)
            if run.position.step == step:
                raise Left

        patch.setattr(unbroken.Run, "log", leave)
        with pytest.raises(Left):
            train(directory, [tracker])
