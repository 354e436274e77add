"""Replay: the steps that a resume repeats, compared with the journal of the first time.

Inputs are compared before outputs, so that the first difference names the cause: samples, learning
rate, loss, gradient, update. Pure: it is fed with lines and knows neither disk nor run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unbroken.journal.change import MASKS_MAY_DIFFER, MICRO_BATCH_SIZE, EnvironmentChange
from unbroken.journal.line import JournalLine, relative_difference
from unbroken.journal.past import Reference
from unbroken.replay import cause
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.bounds import DECIDING_STEPS, Bound, bound_for
from unbroken.replay.cause import Divergence, DivergenceCause

LAST_DIGITS = 1e-15
"""Relative difference of a learning rate that another mathematics library may bring about."""


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
class _Largest:
    """The largest relative differences seen."""

    loss: float = 0.0
    gradient: float = 0.0

    def take(self, loss: float, gradient: float) -> None:
        self.loss = max(self.loss, loss)
        self.gradient = max(self.gradient, gradient)

    def is_within(self, bound: Bound) -> bool:
        return self.loss <= bound.loss and self.gradient <= bound.gradient

    def __str__(self) -> str:
        return f"loss {self.loss:.1e}, gradient {self.gradient:.1e}"


class Replay:
    """Compares the results of repeated steps with those of the first time.

    Args:
        references: By step, all that is known beyond the checkpoint.
        step: Steps completed at the checkpoint.
        arithmetic: What is computed in. It is asked for when a step is judged, for a model may be
            moved to another device after the resume.
        inside_step: Whether the checkpoint was taken inside a step, with partial gradients.
        why_unproved: What takes the references their force, such as another setting that was
            accepted; a difference then proves nothing.
    """

    def __init__(
        self,
        references: Mapping[int, Reference],
        step: int,
        *,
        arithmetic: Callable[[], Arithmetic] = Arithmetic,
        inside_step: bool = False,
        why_unproved: str = "",
    ) -> None:
        self._references = dict(references)
        self._step = step
        self._arithmetic = arithmetic
        self._inside_step = inside_step
        self._why_unproved = why_unproved
        self._last = max(references, default=step)
        self._repeated = 0
        self._changes: dict[str, EnvironmentChange] = {}
        self._deciding, self._later = _Largest(), _Largest()
        self._is_exact = True
        self._drew = False
        self._updates_agree = True
        self.is_as_saved = False
        """Whether the state was the checkpoint's, to the last bit, just before the first step."""
        self.verdict: ReplayVerdict | None = None
        """What was found; None while steps are still to be compared."""
        if not references:
            self._settle(
                ReplayOutcome.UNPROVED,
                "the journal has no step beyond the checkpoint; what the loop keeps outside of Run(...) "
                "was compared with nothing",
            )

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be compared."""
        return self._step >= self._last or self._outcome in (
            ReplayOutcome.DIVERGED,
            ReplayOutcome.UNPROVED,
        )

    @property
    def asks_for_draws(self) -> bool:
        """Whether the next step should say if it drew random numbers, for it decides."""
        return not self.is_over and self._repeated < DECIDING_STEPS

    @property
    def _outcome(self) -> ReplayOutcome | None:
        return self.verdict.outcome if self.verdict else None

    def take(self, line: Mapping[str, Any], *, drew: bool = False) -> ReplayVerdict | None:
        """Compare a completed step; return a verdict where there is a new one.

        Args:
            line: Its journal line.
            drew: Whether its forward passes drew random numbers, such as dropout masks.
        """
        if self.is_over:
            return None
        self._step = int(line["step"])
        reference = self._references.get(self._step)
        before = self.verdict
        if reference is not None:
            self._repeated += 1
            if not _is_plainly_equal(reference.line, line):
                self._compare(
                    JournalLine(reference.line), JournalLine(line), reference.changes, drew=drew
                )
        decides = self._repeated == DECIDING_STEPS and not self._is_exact
        if self._outcome in (None, ReplayOutcome.EQUIVALENT) and (
            decides or self._step >= self._last
        ):
            self._conclude()
        return None if self.verdict is before else self.verdict

    def finish(self) -> ReplayVerdict | None:
        """Conclude from what was repeated, where training ends before all of it was."""
        if self.is_over or not self._repeated:
            return None
        self._last = self._step
        self._conclude()
        return self.verdict

    def _compare(
        self,
        was: JournalLine,
        now: JournalLine,
        changed: tuple[EnvironmentChange, ...],
        *,
        drew: bool,
    ) -> None:
        cuts = (was.cut, now.cut)
        if was.cut != now.cut and None not in cuts:
            changed = (*changed, EnvironmentChange(MICRO_BATCH_SIZE, was.cut, now.cut))
        if was.differs_from(now):
            self._changes.update({each.name: each for each in changed})
            found = self._found(was, now, is_tolerant=bool(changed) or not self._is_exact)
            self._is_exact = False
            self._drew |= drew
            if found and self._why_unproved:
                said = f"{self._why_unproved}; {found.sentence}"
                self._settle(ReplayOutcome.UNPROVED, said, found.cause)
            elif found:
                self._settle(ReplayOutcome.DIVERGED, found.sentence, found.cause)
            elif self._repeated <= DECIDING_STEPS:
                self._judge(was, now)

    def _found(self, was: JournalLine, now: JournalLine, *, is_tolerant: bool) -> Divergence | None:
        """Return what no rounding explains; None where something else must decide."""
        if was.data != now.data:
            return cause.of_data(was, now)
        if self._updates_agree and was.rate != now.rate:
            may_round = is_tolerant and relative_difference(was.rate, now.rate) <= LAST_DIGITS
            if not may_round:
                return cause.of_rate(was, now)
        if not is_tolerant:
            is_first = self._repeated == 1
            return cause.of_outputs(
                was,
                now,
                is_first=is_first,
                inside_step=self._inside_step,
                is_as_saved=self.is_as_saved,
            )
        if was.update != now.update:
            self._updates_agree = False
            if self._repeated <= DECIDING_STEPS:
                return cause.of_update(was, now)
        largest = self._deciding if self._repeated <= DECIDING_STEPS else self._later
        largest.take(was.loss_difference(now), relative_difference(was.gradient, now.gradient))
        return None

    def _judge(self, was: JournalLine, now: JournalLine) -> None:
        """Compare the deciding steps so far with what rounding was seen to do."""
        bound = self._bound()
        named = self._named()
        if bound is None:
            return self._settle(
                ReplayOutcome.UNPROVED,
                f"{self._equal()}; {self._deciding}, but how much of it is rounding was never "
                f"measured for {self._arithmetic()} with {named}",
            )
        if self._deciding.is_within(bound):
            return None
        if self._drew and any(each.kind in MASKS_MAY_DIFFER for each in self._changes.values()):
            return self._settle(
                ReplayOutcome.UNPROVED,
                f"{self._equal()}; {self._deciding}, as other dropout masks make it: {named}",
            )
        is_first = self._repeated == 1
        found = cause.of_outputs(
            was,
            now,
            is_first=is_first,
            inside_step=False,
            is_rounded=True,
            is_as_saved=self.is_as_saved,
        )
        return self._settle(
            ReplayOutcome.DIVERGED if not self._why_unproved else ReplayOutcome.UNPROVED,
            f"{found.sentence}; {self._deciding} is more than {named} can do ({_shown(bound)})",
            found.cause,
        )

    def _conclude(self) -> None:
        if self._is_exact:
            return self._settle(
                ReplayOutcome.EXACT,
                f"{self._repeated}/{self._known} steps: data, loss, gradient, update",
            )
        bound = self._bound()
        assert bound is not None  # without one the first difference settled it
        later = f"; later up to {self._later}" if self._later.loss or self._later.gradient else ""
        decided = min(self._repeated, DECIDING_STEPS)
        return self._settle(
            ReplayOutcome.EQUIVALENT,
            f"{self._equal()}; {self._deciding} in the first {decided}, bounds {_shown(bound)}"
            f"{later}; {self._named()}",
        )

    @property
    def _known(self) -> int:
        return len(self._references)

    def _equal(self) -> str:
        return f"{self._repeated}/{self._known} steps: data and learning rate equal"

    def _named(self) -> str:
        return ", ".join(str(each) for each in self._changes.values())

    def _bound(self) -> Bound | None:
        return bound_for(self._arithmetic(), {each.kind for each in self._changes.values()})

    def _settle(
        self, outcome: ReplayOutcome, reason: str, cause: DivergenceCause | None = None
    ) -> None:
        self.verdict = ReplayVerdict(
            outcome=outcome,
            reason=reason,
            step=self._step,
            repeated=self._repeated,
            known=self._known,
            changes=tuple(self._changes.values()),
            cause=cause,
        )


def _is_plainly_equal(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say in microseconds whether nothing at all differs, as in nearly every step."""
    return all(name in now and now[name] == was[name] for name in was if name != "start") and len(
        now
    ) == len(was) - ("start" in was)


def _shown(bound: Bound) -> str:
    return f"{bound.loss:.0e} and {bound.gradient:.0e}"
