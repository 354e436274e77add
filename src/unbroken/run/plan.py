"""What opening a run needs to know of it: the arguments of `Run(...)`, made ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unbroken.loop.due import SaveDue
from unbroken.run.agreement import Agreement
from unbroken.run.inspector import StateInspector
from unbroken.run.monitor import OnDiverged
from unbroken.run.order import Order
from unbroken.run.update import Updater
from unbroken.state.random_streams import RandomStreams
from unbroken.state.training_state import TrainingState
from unbroken.trackers.tracker import Tracker


class Retention(NamedTuple):
    """Which checkpoints stay."""

    keep: int
    """How many of the newest."""
    keep_every: int
    """Those at multiples of so many steps as well; 0 for none."""
    best_by: str | None
    """The metric whose best one stays as well; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The objects of a run and its policies, before its directory is opened."""

    inspector: StateInspector
    """Knows the objects that are saved and restored."""
    updater: Updater
    due: SaveDue
    retention: Retention
    grace_seconds: float
    """Time from a stop request until the process must be gone."""
    on_diverged: OnDiverged
    overlap: bool
    """Whether what only optimisers change is copied beside the next forward pass."""
    trackers: Sequence[Tracker]
    """Where the numbers of each step are shown."""
    agreement: Agreement
    """Of the processes that train."""

    @property
    def order(self) -> Order:
        """Which samples a step has."""
        return self.inspector.order

    @property
    def state(self) -> TrainingState:
        """What is saved and restored."""
        return self.inspector.state

    @property
    def seed(self) -> int:
        """The number that all randomness of the steps derives from."""
        return self.inspector.seed

    @property
    def streams(self) -> RandomStreams:
        """What the randomness of each step derives from."""
        return self.inspector.streams
