"""The diagnosis of a run's past: where it was resumed, what broke there, and the likely cause.

Pure data and functions: nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """One observation at a resume."""

    kind: str
    """The cause it indicates; see `CAUSES`. Empty for a circumstance."""
    sentence: str
    """The observation, with the values before and after."""
    is_break: bool = False
    """Whether it alone means that the run was not continued."""
    is_large: bool = False
    """Whether a shift exceeds one of the usual thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """One past resume."""

    step: int
    """Completed steps at its beginning; with curves only, the step before its first point."""
    source: str
    """`journal` or `curves`."""
    start: int | None = None
    """Number of the start, from 1."""
    time: float | None = None
    """Seconds since 1970, UTC."""
    resumed_from: str = ""
    """Name of the checkpoint."""
    repeated: str = ""
    """The result of the repeated steps."""
    curves: tuple[str, ...] = ()
    """How loss, learning rate and gradient norm continued."""
    clues: tuple[Clue, ...] = ()
    was_caught: bool = False
    """Whether the run stopped itself there; nothing of it was saved."""

    @property
    def breaks(self) -> tuple[Clue, ...]:
        """The clues that mean that the run was not continued."""
        return tuple(each for each in self.clues if each.is_break)

    @property
    def broke(self) -> bool:
        """Whether another training continued from here."""
        return bool(self.breaks) and not self.was_caught

    @property
    def cause(self) -> str:
        """The likely cause; empty if nothing broke."""
        return likely_cause(self.clues) if self.breaks else ""


CAUSES: dict[str, str] = {
    "repeated steps": "{}",
    "accepted": "another setting is used since then, which was accepted",
    "repeated samples": "samples of this epoch were used again: the order or the position "
    "in the epoch was not restored",
    "batch": "the effective batch was changed",
    "learning rate": "the schedule: its length, its base rate or its counter changed",
    "updates": "the counter of the updates was not restored, and the schedule depends on it",
    "skipped updates": "the loss scaler or its scale was not restored",
    "gradient norm": "weights, optimizer state or the accumulation of gradients is not what it was",
    "loss spike": "weights or optimizer state were not restored, or other data is trained",
    "suspicious drop": "samples that were used already are repeated, or the loss function changed",
    "loss": "weights or optimizer state were not restored, or other data is trained",
    "not finite": "the state was not finite when it was saved, or became so at once",
    "other samples": "the repeated steps were trained on other samples: the order was not restored",
}
"""By kind of clue, the most likely first: inputs of a step before its results."""


def likely_cause(clues: Iterable[Clue]) -> str:
    """Return the likely cause of a break, from its most informative clue."""
    found = list(clues)
    for kind, said in CAUSES.items():
        for each in found:
            if each.kind == kind:
                return said.format(each.sentence)
    return "unknown: nothing in the record shows it"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """The state of a checkpoint, as far as it is known without reading its tensors."""

    name: str
    step: int
    problem: str = ""
    """Empty if nothing is wrong."""
    remedy: str = ""
    """The command that may repair it."""
    advice: str = ""
    """What to do if no command can repair it."""
    is_whole: bool = True
    """Whether it can be read, except for its tensors."""
    is_the_runs: bool = True
    """Whether the run of this directory saved it, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The diagnosis of a run's past."""

    path: str
    run_id: str = ""
    source: str = ""
    """`journal` or `curves`."""
    starts: int = 0
    first_step: int = 0
    last_step: int = 0
    resumptions: tuple[Resumption, ...] = ()
    checkpoints: tuple[CheckpointState, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether something broke."""
        return any(each.broke for each in self.resumptions) or any(
            each.problem for each in self.checkpoints
        )
