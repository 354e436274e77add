"""All trackers of a run: what each step came to is gathered, and handed to each of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.errors import SettingsInvalid
from unbroken.trackers.delivery import Delivery
from unbroken.trackers.handed_over import HandedOver
from unbroken.trackers.row import SCORES, Row, numbers, recorded, values_of
from unbroken.trackers.tracker import Tracker

CLOSE_SECONDS = 30.0
"""Time for what waits when a run is closed."""
STOP_SECONDS = 10.0
"""The same where it was asked to stop: the process may be killed soon."""


def require_trackers(trackers: Any) -> tuple[Tracker, ...]:
    """Return the trackers, if they are some.

    Raises:
        SettingsInvalid: One is none.
    """
    listed: list[Any] = [trackers] if isinstance(trackers, str) else list(trackers)
    for each in listed:
        if not isinstance(each, Tracker) or isinstance(each, type):
            raise SettingsInvalid(
                f"Run(trackers=) has {each!r:.80}, which has no begin(), log() and close().",
                "Nothing could be shown by it.",
                'Give a list of trackers, such as [unbroken.tracker("wandb")].',
            )
    return tuple(listed)


class Tracking:
    """Hands the numbers of a run to its trackers.

    A step's row waits until its scores are measured, and is handed over whole.

    Args:
        trackers: Where they go.
        layout: The run's directory.
        run_id: The run's.
        step: Steps completed at this start.
        note: Writes into the history.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        layout: Layout,
        run_id: str,
        step: int,
        note: Callable[..., None],
    ) -> None:
        self._note = note
        self._highest = step
        self._given: set[str] = set()
        self._open: Row | None = None
        self._handed_over = HandedOver(layout.trackers_file, run_id)
        named = zip(_names(trackers), trackers, strict=True)
        self.at_exit: Callable[[], None] = lambda: None
        """Closes the run at the end of the program, where nobody else does."""
        self._deliveries = [
            Delivery(each, name, self._handed_over, self._program_ends) for name, each in named
        ]
        for each in self._deliveries:
            each.begin(run_id, step, partial(recorded, layout))

    def step(self, step: int, losses: Mapping[str, float], rate: float, grad_norm: float) -> None:
        """Take in what a completed step came to."""
        if self._deliveries:
            self._open = Row(step, values_of(losses, rate, grad_norm))

    def hand_over(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand over what the last step came to, and the scores that were measured since.

        Args:
            step: Steps completed.
            metrics: The scores, by name.
        """
        if not self._deliveries or step < self._highest:
            return  # a step that is repeated in this process
        if step > self._highest:
            self._highest, self._given = step, set()
        row, self._open = self._open, None
        known = dict(row.values) if row is not None and row.step == step else {}
        scores = {name: each for name, each in numbers(metrics).items() if name not in self._given}
        if scores:
            self._note(SCORES, step=step, values=scores)
        known |= scores
        values = {name: each for name, each in known.items() if name not in self._given}
        self._given |= values.keys()
        if values:
            for each in self._deliveries:
                each.put(Row(step, values))

    def _program_ends(self) -> None:
        self.at_exit()  # as it is then: a run that closes itself says so after trackers have begun

    def close(self, *, is_stopped: bool) -> None:
        """Wait a while for what is not handed over yet.

        Args:
            is_stopped: Whether a stop was saved.
        """
        deliveries, self._deliveries = self._deliveries, []
        for each in deliveries:
            each.end()
        deadline = time.monotonic() + (STOP_SECONDS if is_stopped else CLOSE_SECONDS)
        for each in deliveries:
            each.wait(deadline)
        self._handed_over.close()


def _names(trackers: Sequence[Tracker]) -> list[str]:
    """Return a name for each tracker: that of its class, and a number where there are several."""
    seen: Counter[str] = Counter()
    names = []
    for each in trackers:
        name = type(each).__name__
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return names
