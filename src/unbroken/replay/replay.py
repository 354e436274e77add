"""Replay: the steps that a resume repeats, compared with the journal of the first time.

Inputs are compared before outputs, so that the first difference names the cause: samples, learning
rate, loss, gradient, update. Pure: it is fed with lines and knows neither disk nor run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unbroken.journal.change import DEVICE, MASKS_MAY_DIFFER, MICRO_BATCH_SIZE, EnvironmentChange
from unbroken.journal.line import JournalLine, is_plainly_equal, relative_difference
from unbroken.journal.past import Reference
from unbroken.replay import cause
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.bounds import DECIDING_STEPS, Bound, bound_for
from unbroken.replay.cause import Divergence, DivergenceCause
from unbroken.replay.noise import REPEATS, Noise
from unbroken.replay.repetitions import Repetitions, noise_between
from unbroken.replay.verdict import Largest, ReplayOutcome, ReplayVerdict, compared

LAST_DIGITS = 1e-15
"""Relative difference of a learning rate that another mathematics library may bring about."""


__all__ = ["Replay", "ReplayOutcome", "ReplayVerdict"]


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
        noise: What was measured of the run's own noise, asked for when a step is judged; None where
            nothing could be measured.
        computed_on: The type of the device that the references were computed on; empty if unknown.
        also_changed: What else is not what it was, such as an edited file: it excuses nothing, and is
            named where a step came out otherwise.
    """

    def __init__(
        self,
        references: Mapping[int, Reference],
        step: int,
        *,
        arithmetic: Callable[[], Arithmetic] = Arithmetic,
        inside_step: bool = False,
        why_unproved: str = "",
        noise: Callable[[], Noise | None] = lambda: REPEATS,
        computed_on: str = "",
        also_changed: Sequence[str] = (),
    ) -> None:
        self._references = dict(references)
        self._step = step
        self._arithmetic = arithmetic
        self._inside_step = inside_step
        self._why_unproved = why_unproved
        self._measured = noise
        self._computed_on = computed_on
        self._also_changed = tuple(also_changed)
        self._seen: Noise | None = None
        self._begin, self._last = step, max(references, default=step)
        self._repetitions = Repetitions()
        self._suspected: Divergence | None = None
        self.can_repeat = False
        """Whether the steps can be repeated from the checkpoint once more."""
        self.asks_to_repeat = False
        """Whether they should be, now: see `begin_again`."""
        self.loop_went_on = False
        """Whether they were, and the loop did not use the same samples for them again."""
        self._start_over()
        self.repeats_exactly = False
        """Whether the last step that was taken in equals its reference to the last bit."""
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

    def _start_over(self) -> None:
        self._repeated = 0
        self._changes: dict[str, EnvironmentChange] = {}
        self._deciding, self._later = Largest(), Largest()
        self._is_exact = True
        self._drew = False
        self._updates_agree = True

    def begin_again(self) -> None:
        """Go back to the checkpoint, whose state was put back: the steps come once more."""
        self._step = self._begin
        self.asks_to_repeat = False
        self._repetitions.begin()
        self._start_over()

    def give_up_repeating(self) -> ReplayVerdict | None:
        """Conclude without another pass; return the verdict where there is one."""
        self.can_repeat = self.asks_to_repeat = False
        if self._suspected:
            self._settle_unmeasured(self._suspected)
        return self.verdict

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
        self.repeats_exactly = False
        if self.is_over:
            return None
        self._step = int(line["step"])
        reference = self._references.get(self._step)
        before = self.verdict
        if reference is not None:
            self._repeated += 1
            if self.can_repeat:
                self._hold_against_earlier_passes(JournalLine(line))
            self.repeats_exactly = is_plainly_equal(reference.line, line)
            if not self.loop_went_on and not self.repeats_exactly:
                self._compare(
                    JournalLine(reference.line), JournalLine(line), reference.changes, drew=drew
                )
        decides = self._repeated == DECIDING_STEPS and not self._is_exact
        is_open = self._outcome in (None, ReplayOutcome.EQUIVALENT) and not self.asks_to_repeat
        if is_open and (decides or self._step >= self._last):
            self._conclude()
        return None if self.verdict is before else self.verdict

    def finish(self) -> ReplayVerdict | None:
        """Conclude from what was repeated, where training ends before all of it was."""
        if (self.is_over and not self.asks_to_repeat) or not self._repeated:
            return None
        self._last = self._step
        if self.asks_to_repeat:
            return self.give_up_repeating()
        self._conclude()
        return self.verdict

    def _hold_against_earlier_passes(self, now: JournalLine) -> None:
        """Learn the run's noise from another pass of this process that gave other bits."""
        found = self._repetitions.take(now)
        if found is None:
            return
        if self._is_rounding(found):
            self._seen = found
        elif self._suspected:
            self.loop_went_on = True
            self._settle(
                ReplayOutcome.DIVERGED,
                f"{self._suspected.sentence}; that is as little as rounding, but repeated from the "
                "checkpoint once more, in this process, the step came out as quite another: the loop "
                "goes on with what follows, and can't be repeated",
            )

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
        device = self._arithmetic().device
        if self._computed_on not in ("", device):
            changed = (*changed, EnvironmentChange(DEVICE, self._computed_on, device))
        if was.differs_from(now):
            self._changes.update({each.name: each for each in changed})
            is_tolerant = bool(changed) or not self._is_exact or self._noise.is_any
            found = self._found(was, now, is_tolerant=is_tolerant)
            is_open = not is_tolerant and not self._why_unproved
            if found and is_open and self._may_be_noise(was, now):
                return self._suspect(found)
            self._is_exact = False
            self._drew |= drew
            if found and self._why_unproved:
                said = f"{self._why_unproved}; {found.sentence}"
                self._settle(ReplayOutcome.UNPROVED, said, found.cause)
            elif found:
                self._settle(ReplayOutcome.DIVERGED, found.sentence, found.cause)
            elif self._repeated <= DECIDING_STEPS:
                self._judge(was, now)
        return None

    def _may_be_noise(self, was: JournalLine, now: JournalLine) -> bool:
        """Say whether the step is off by no more than rounding may do, and by that only."""
        apart = noise_between(was, now)
        return apart.is_any and self._is_rounding(apart)

    def _is_rounding(self, apart: Noise) -> bool:
        bound = Noise().bound(self._arithmetic())
        return apart.outputs <= bound.loss and apart.gradient <= bound.gradient

    def _suspect(self, found: Divergence) -> None:
        """Have the steps repeated, to see whether they come out otherwise by themselves."""
        if self.can_repeat and self._repetitions.are_left:
            self._suspected, self.asks_to_repeat = self._suspected or found, True
        elif self._measured() is None and not self.can_repeat:
            self._settle_unmeasured(found)
        else:
            self._settle(ReplayOutcome.DIVERGED, found.sentence, found.cause)

    def _settle_unmeasured(self, found: Divergence) -> None:
        self._settle(
            ReplayOutcome.UNPROVED,
            f"{found.sentence}; that is as little as rounding, and whether this run repeats itself "
            "could not be measured",
            found.cause,
        )

    @property
    def _noise(self) -> Noise:
        return self._seen or self._measured() or REPEATS

    def _found(self, was: JournalLine, now: JournalLine, *, is_tolerant: bool) -> Divergence | None:
        """Return what no rounding explains; None where something else must decide."""
        digits = LAST_DIGITS if is_tolerant else 0.0
        if found := cause.of_inputs(was, now, digits, compares_rates=self._updates_agree):
            return found
        if not is_tolerant:
            is_first = self._repeated == 1
            return cause.of_outputs(
                was, now, is_first=is_first, inside_step=self._inside_step,
                is_as_saved=self.is_as_saved,
            )  # fmt: skip
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
            was, now, is_first=is_first, inside_step=False, is_rounded=True,
            is_as_saved=self.is_as_saved,
        )  # fmt: skip
        return self._settle(
            ReplayOutcome.DIVERGED if not self._why_unproved else ReplayOutcome.UNPROVED,
            f"{found.sentence}; {self._deciding} is more than {self._excuses()} can do ({bound})",
            found.cause,
        )

    def _conclude(self) -> None:
        if self._is_exact:
            return self._settle(
                ReplayOutcome.EXACT,
                f"{self._repeated}/{self._known} steps: "
                f"{compared([each.line for each in self._references.values()], self._repeated)}",
            )
        bound = self._bound()
        assert bound is not None  # without one the first difference settled it
        later = f"; later up to {self._later}" if self._later.loss or self._later.gradient else ""
        decided = min(self._repeated, DECIDING_STEPS)
        noise = f"{self._noise}; " if self._noise.is_any else ""
        named = f"; {self._named()}" if self._changes else ""
        return self._settle(
            ReplayOutcome.EQUIVALENT,
            f"{noise}{self._equal()}; {self._deciding} in the first {decided}, bounds {bound}"
            f"{later}{named}",
        )

    @property
    def _known(self) -> int:
        return len(self._references)

    def _equal(self) -> str:
        return f"{self._repeated}/{self._known} steps: data and learning rate equal"

    def _named(self) -> str:
        return ", ".join(str(each) for each in self._changes.values())

    def _excuses(self) -> str:
        noise = "the noise of a run that does not repeat itself"
        return ", ".join(([self._named()] if self._changes else []) + [noise] * self._noise.is_any)

    def _bound(self) -> Bound | None:
        arithmetic = self._arithmetic()
        changed = bound_for(arithmetic, {each.kind for each in self._changes.values()})
        if changed is None or not self._noise.is_any:
            return changed
        return changed.beside(self._noise.bound(arithmetic))

    def _settle(
        self, outcome: ReplayOutcome, reason: str, cause: DivergenceCause | None = None
    ) -> None:
        if outcome is ReplayOutcome.DIVERGED:
            told = [*map(str, self._changes.values()), *self._also_changed]
            rest = [each for each in told if each not in reason]
            reason += f"; changed since: {', '.join(rest)}" if rest else ""
        self.verdict = ReplayVerdict(
            outcome=outcome,
            reason=reason,
            step=self._step,
            repeated=self._repeated,
            known=self._known,
            changes=tuple(self._changes.values()),
            cause=cause,
        )
