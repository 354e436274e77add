"""A run's journal and history without a training: what a run writes that is killed at given steps.

The lines are made by the run's own writer of sums. Beside them it is kept which samples each step really
used, so that a test can count them for itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.order.step_batches import StepBatches, sample_digest
from unbroken.run.order import Order
from unbroken.run.sample_ledger import SampleLedger
from unbroken.state.position import Position

Line = dict[str, Any]


def step_batches(samples: int, batch: int, seed: int = 3) -> StepBatches:
    """Return an order over samples with names of their own."""
    return StepBatches([f"clip-{i}" for i in range(samples)], None, batch, seed)


@dataclass
class WrittenLedger:
    """What a run has written, start by start."""

    has_sums: bool = True
    """False for the lines of an earlier version."""
    journal: list[Line] = field(default_factory=list)
    history: list[Line] = field(default_factory=list)
    used: dict[int, tuple[int, list[str]]] = field(default_factory=dict)
    """Step -> epoch and the samples it used, of the steps that made the present state."""
    places: dict[int, Position] = field(default_factory=lambda: {0: Position()})
    """Step -> where the run stood after it."""
    starts: int = 0

    def start(
        self,
        order: Order,
        begin: int,
        steps: int,
        change: Callable[[int, list[str]], list[str]] = lambda _step, ids: ids,
        **told: Any,
    ) -> None:
        """Let a start go on after step `begin` and complete some steps.

        Args:
            order: The order that it has.
            begin: Steps of its checkpoint.
            steps: How many it completes before it dies.
            change: What it really uses of a step's samples, where it is a faulty one.
            told: Further fields of its line in the history.
        """
        self.starts += 1
        number, here = self.starts, self.places[begin]
        resumed = f"step-{begin:08d}" if begin else None
        self.history.append(
            {"event": "start", "start": number, "step": begin, "resumed_from": resumed, **told}
        )
        for step in [each for each in self.used if each > begin]:
            del self.used[step]

        def note(event: str, **details: Any) -> None:
            self.history.append({"event": event, "start": number, **details})

        ledger = SampleLedger(order, note)
        for _ in range(steps):
            after = order.after(here)
            ids = change(after.step, order.names_at(here))
            line = {
                "step": after.step,
                "updates": after.step,
                "epoch": here.epoch,
                "samples": len(ids),
                "sample_digest": sample_digest(ids),
                "loss": 1.0,
            }
            if self.has_sums:
                line |= ledger.fields(here, after, ids)
            self.journal.append({**line, "start": number})
            self.used[after.step] = here.epoch, ids
            self.places[after.step] = here = after

    def epochs(self) -> dict[int, Counter[str]]:
        """Count for oneself how often each sample was used, by epoch."""
        found: dict[int, Counter[str]] = {}
        for epoch, ids in self.used.values():
            found.setdefault(epoch, Counter()).update(ids)
        return found

    def write(self, directory: Path) -> Path:
        """Write the files of the run."""
        directory.mkdir(parents=True, exist_ok=True)
        write_lines(directory / "journal.jsonl", self.journal)
        write_lines(directory / "history.jsonl", self.history)
        return directory


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """Write one line for each."""
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
