"""Diagnosis of a run's past: where it was resumed, what broke there, by how much, and likely why.

Pure: what was read from journals and event files comes in, sentences go out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """Something seen at a resume."""

    kind: str
    """What it speaks for; see `CAUSES`. Empty for what only stands beside it."""
    sentence: str
    """With the numbers of before and after."""
    is_break: bool = False
    """Whether it alone means that the run was not continued."""
    is_large: bool = False
    """Whether a level lies beyond one of the marks that people look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """One resume of the past."""

    step: int
    """Steps completed where it began; of curves alone the step before its first point."""
    source: str
    """`journal` or `curves`."""
    start: int | None = None
    """Number of the start, from 1."""
    time: float | None = None
    """Seconds since 1970, UTC."""
    resumed_from: str = ""
    """Name of the checkpoint."""
    repeated: str = ""
    """What the repeated steps prove."""
    curves: tuple[str, ...] = ()
    """What loss, learning rate and gradient norm did."""
    clues: tuple[Clue, ...] = ()
    was_caught: bool = False
    """Whether the run itself stopped there at once; nothing of it was saved."""

    @property
    def breaks(self) -> tuple[Clue, ...]:
        """What means that the run was not continued."""
        return tuple(each for each in self.clues if each.is_break)

    @property
    def broke(self) -> bool:
        """Whether another training went on from here."""
        return bool(self.breaks) and not self.was_caught

    @property
    def cause(self) -> str:
        """The likely cause; empty where nothing broke."""
        return likely_cause(self.clues) if self.breaks else ""


CAUSES: dict[str, str] = {
    "repeated steps": "{}",
    "accepted": "another setting acts since, which a person accepted",
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
"""By kind of clue, the likeliest first: what comes in is looked at before what comes out."""


def likely_cause(clues: Iterable[Clue]) -> str:
    """Return the likely cause of a break, from the clue that says most."""
    found = list(clues)
    for kind, said in CAUSES.items():
        for each in found:
            if each.kind == kind:
                return said.format(each.sentence)
    return "nothing in the record says"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """What a checkpoint contains, as far as it is known without reading its tensors."""

    name: str
    step: int
    problem: str = ""
    """Empty where nothing is wrong."""
    remedy: str = ""
    """The command that may repair it."""
    advice: str = ""
    """What to know if no command would repair it."""
    is_whole: bool = True
    """Whether it can be read; its tensors were not."""
    is_the_runs: bool = True
    """Whether the run of this directory saved it, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the record of a run tells of its past."""

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
