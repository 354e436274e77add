"""What a run writes down of its samples, so that `unbroken verify --ledger` can prove their use.

Each line of the journal has the sum of its step's samples; that of an epoch's last step also what the
order's list of the epoch holds. The history keeps, once a start, what the order of that start says was
used of the epoch before. A start that goes on with another list contradicts the steps before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from unbroken.journal.line import EPOCH_ENDED, SAMPLE_SUM
from unbroken.order.sample_sum import count_samples, sample_sum, sum_text
from unbroken.run.order import Order
from unbroken.state.position import Position

USED_BEFORE = "used before"
"""Event of the history: the samples of the epoch before the first step of a start."""


class SampleLedger:
    """Says for each step which samples it used.

    Args:
        order: The run's; one whose `can_list_epochs` is False names places, not samples.
        note: Writes a line into the history.
    """

    def __init__(self, order: Order, note: Callable[..., None]) -> None:
        self._order = order
        self._note = note
        self._has_told = False

    def fields(self, before: Position, after: Position, ids: Sequence[str]) -> dict[str, Any]:
        """Return what a step's line holds beside its digest.

        Args:
            before: Where the run stood.
            after: Where it stands now.
            ids: Names of the samples of the step.
        """
        if not getattr(self._order, "can_list_epochs", True):
            return {}
        if not self._has_told:
            self._tell(before)
        fields: dict[str, Any] = {SAMPLE_SUM: sum_text(sample_sum(ids))}
        if after.epoch != before.epoch:
            fields[EPOCH_ENDED] = self._list_of(replace(before, batch=before.batch + 1))
        return fields

    def _tell(self, before: Position) -> None:
        """Note what the order says was used of the epoch before the first step of this start."""
        self._has_told = True
        used = count_samples(self._names_before(before))
        told = {"samples": used.samples, "sum": sum_text(used.sum)}
        self._note(USED_BEFORE, step=before.step, epoch=before.epoch, **told)

    def _list_of(self, end: Position) -> dict[str, Any]:
        """Return what the list of an epoch holds: samples, how many of them differ, of how many."""
        listed = count_samples(self._names_before(end))
        return {
            "samples": listed.samples,
            "distinct": listed.distinct,
            "of": self._order.facts().get("samples"),
            "sum": sum_text(listed.sum),
        }

    def _names_before(self, end: Position) -> Iterator[str]:
        for batch in range(end.batch):
            yield from self._order.names_at(replace(end, batch=batch, samples=0))
