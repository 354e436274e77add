"""What a replay comes to: its verdict, and the largest differences behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unbroken.journal.change import EnvironmentChange
from unbroken.journal.line import JournalLine
from unbroken.replay.bounds import Bound
from unbroken.replay.cause import DivergenceCause


class ReplayOutcome(StrEnum):
    """What a replay can come to."""

    EXACT = "EXACT"
    EQUIVALENT = "EQUIVALENT"
    DIVERGED = "DIVERGED"
    UNPROVED = "UNPROVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayVerdict:
    """What the repeated steps prove."""

    outcome: ReplayOutcome
    reason: str
    """What stands behind the outcome: in parentheses, or after the step for DIVERGED."""
    step: int
    """The last step that was compared; where it diverged, that step."""
    repeated: int
    """Steps compared."""
    known: int
    """Steps that the journal knew beyond the checkpoint."""
    changes: tuple[EnvironmentChange, ...] = ()
    """What of the environment was not as it had been."""
    cause: DivergenceCause | None = None
    """What a difference that no rounding explains speaks for; None where there is none."""

    def __str__(self) -> str:
        """Return the verdict as it is shown."""
        if self.outcome is ReplayOutcome.DIVERGED:
            return f"DIVERGED at step {self.step:,}: {self.reason}"
        return f"{self.outcome} ({self.reason})"


@dataclass(slots=True)
class Largest:
    """The largest relative differences seen."""

    loss: float = 0.0
    gradient: float = 0.0

    def take(self, loss: float, gradient: float) -> None:
        """Take in the differences of a step."""
        self.loss = max(self.loss, loss)
        self.gradient = max(self.gradient, gradient)

    def is_within(self, bound: Bound) -> bool:
        """Say whether none is larger than a bound."""
        return self.loss <= bound.loss and self.gradient <= bound.gradient

    def __str__(self) -> str:
        """Say both."""
        return f"loss {self.loss:.1e}, gradient {self.gradient:.1e}"


def compared(lines: Sequence[Mapping[str, Any]], repeated: int) -> str:
    """Return what was compared of repeated steps, in words.

    Args:
        lines: The journal's lines of them; a loop may tell no losses.
        repeated: How many were repeated: an update shows in the weights of the step after it.
    """
    has_losses = any(JournalLine(each).losses for each in lines)
    named = ["data", *(["loss"] if has_losses else []), "gradient"]
    return ", ".join([*named, *(["update"] if repeated > 1 else [])])
