"""What is said of a resume while it trains: lines for a person, events for the history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from unbroken.replay.noise import Noise
from unbroken.replay.replay import ReplayOutcome, ReplayVerdict
from unbroken.watch.watch import Remark

Note = Callable[..., None]
"""`note(event, **details)` writes a line into the history."""

_log = logging.getLogger("unbroken")


def nowhere(event: str, **details: Any) -> None:
    """Stand in for a history where there is none."""
    del event, details


class ResumeLog:
    """Says lines, to the log or to whoever listens, and notes them in the history.

    Lines wait for the next step, or for somebody to listen: a program says first where it resumed.

    Args:
        note: Writes into the history.
    """

    def __init__(self, note: Note = nowhere) -> None:
        self._note = note
        self._tell: Callable[[str], None] | None = None
        self._waiting: list[tuple[int, str]] = []
        self.remarks: list[Remark] = []
        """What the watch has said."""

    def listen(self, tell: Callable[[str], None]) -> None:
        """Give lines to `tell` from now on, instead of the log; those that wait as well."""
        self._tell = tell
        self.say_waiting()

    def drop_waiting(self) -> None:
        """Forget the lines that wait."""
        self._waiting = []

    def say_waiting(self) -> None:
        """Say the lines that wait."""
        for level, text in self._waiting:
            if self._tell is None:
                _log.log(level, "%s", text)
            else:
                self._tell(text)
        self._waiting = []

    def say(self, text: str, *, is_alarm: bool) -> None:
        """Say a line: at once where somebody listens, else with the next step."""
        self._waiting.append((logging.WARNING if is_alarm else logging.INFO, text))
        if self._tell is not None:
            self.say_waiting()

    def remark(self, remarks: Iterable[Remark]) -> None:
        """Say what the watch saw."""
        for each in remarks:
            self.remarks.append(each)
            self.say(f"[Watch] {each.sentence}", is_alarm=each.is_alarm)
            self._note("watch", kind=each.kind, step=each.step, sentence=each.sentence)

    def verdict(self, verdict: ReplayVerdict) -> None:
        """Say what the repeated steps came to."""
        is_alarm = verdict.outcome is ReplayOutcome.DIVERGED
        self.say(f"[Replay] {verdict}", is_alarm=is_alarm)
        self._note(
            "replay",
            verdict=verdict.outcome,
            sentence=str(verdict),
            step=verdict.step,
            repeated=verdict.repeated,
            known=verdict.known,
        )

    def finished(self, step: int) -> None:
        """Say that a start found nothing left to train."""
        self.say(
            f"[Resume] the run is finished, at step {step:,}: nothing was left to train, and nothing to repeat.",
            is_alarm=False,
        )

    def repeatability(self, noise: Noise | None, why: str, **computed: Any) -> None:
        """Say whether the run repeats itself, where it doesn't or that could not be measured.

        Args:
            noise: What was measured; None where nothing could be.
            why: Why nothing could be.
            computed: What it was computed with, for the history.
        """
        told = {"unmeasured": why} if noise is None else asdict(noise)
        if noise is None:
            self.say(
                f"[Replay] whether this run repeats itself was not measured: {why}", is_alarm=False
            )
        elif noise.is_any:
            self.say(
                f"[Replay] {noise}; the steps that a resume repeats are then equivalent, not exact",
                is_alarm=True,
            )
        self._note("repeatability", **told, **computed)

    def loop_went_on(self) -> None:
        """Note that this run's loop can't be repeated in one process, for the starts to come."""
        self._note("repeatability", of_loop=False)

    def diverged(self, step: int | None, reason: str, *, continued: bool) -> None:
        """Note that this is another training, and whether it goes on all the same."""
        self._note("diverged", step=step, reason=reason, continued=continued)
