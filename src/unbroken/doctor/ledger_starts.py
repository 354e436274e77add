"""What the history tells of the starts of a run, as far as the ledger of its samples needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unbroken.journal.journal import read_lines
from unbroken.journal.past import changes_training
from unbroken.order.sample_sum import sum_of_text
from unbroken.run.sample_ledger import USED_BEFORE


class Used(NamedTuple):
    """Samples of an epoch, as an order has them."""

    samples: int
    sum: int


@dataclass(slots=True)
class LedgerStart:
    """One start, as the history has it."""

    number: int
    step: int
    """Steps completed where it began."""
    batch: int | None
    """Step batches of the epoch that were done there; None where that isn't told."""
    new_values: tuple[str, ...] = ()
    """What was accepted at its resume and makes it another training."""
    has_diverged: bool = False
    """Whether it was stopped because a repeated step came out otherwise; nothing goes on from it."""
    put_back: set[int] = field(default_factory=set)
    """Steps after which its checkpoint was put back, to repeat what follows once more."""
    used_before: dict[int, tuple[int, Used]] = field(default_factory=dict)
    """Step -> epoch, and what its order says was used of it up to that step."""


@dataclass(slots=True)
class Starts:
    """The starts of a run."""

    by_number: dict[int, LedgerStart]
    left: set[int]
    """Epochs that the loop left before their end, as it wanted."""
    journal_from: int
    """Bytes at the beginning of the journal that a start found to be another run's."""


def read_starts(history: Path) -> Starts:
    """Return what a history tells; damaged lines are skipped."""
    found: dict[int, LedgerStart] = {}
    left: set[int] = set()
    journal_from = 0
    for line in read_lines(history):
        if type(line.get("journal_from")) is int:
            journal_from = max(0, line["journal_from"])
        number, event = line.get("start"), line.get("event")
        if type(number) is not int:
            continue
        if event == "start":
            found[number] = _start(number, line)
        elif number in found:
            _take(found[number], event, line)
            if event == "epoch left" and type(line.get("epoch")) is int:
                left.add(line["epoch"])
    return Starts(found, left, journal_from)


def _start(number: int, line: Mapping[str, Any]) -> LedgerStart:
    step = line.get("step")
    taken = line.get("checks", {}).get("taken")
    values = [each for each in taken if isinstance(each, str)] if isinstance(taken, list) else []
    return LedgerStart(
        number,
        step=step if type(step) is int else 0,
        batch=0 if line.get("resumed_from") is None else None,
        new_values=tuple(changes_training(values)),
    )


def _take(start: LedgerStart, event: Any, line: Mapping[str, Any]) -> None:
    """Take in a further line of a start."""
    step, epoch, batch = line.get("step"), line.get("epoch"), line.get("batch")
    if event == "diverged":
        if line.get("continued"):
            start.new_values += ("on_diverged",)
        else:
            start.has_diverged = True
    if type(step) is not int:
        return
    if event == "put back":
        start.put_back.add(step)
    elif event == "begins at" and type(batch) is int:
        start.step, start.batch = step, batch
    elif event == USED_BEFORE and type(epoch) is int:
        samples, total = line.get("samples"), sum_of_text(line.get("sum"))
        if type(samples) is int and total is not None:
            start.used_before[step] = epoch, Used(samples, total)
