"""The monitor of a resume while it trains: replay and watch, fed by the run at the end of each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from unbroken.checks.frozen_rows_out_of_reach import MASKING_FAILED
from unbroken.checks.frozen_rows_unmoved import FROZEN_MOVED
from unbroken.counts import counted
from unbroken.errors import Diverged
from unbroken.replay.replay import Replay, ReplayOutcome, ReplayVerdict
from unbroken.run.repeatability import Repeatability
from unbroken.run.resume_log import ResumeLog
from unbroken.watch.first_loss import FirstLosses
from unbroken.watch.first_updates import FirstUpdates
from unbroken.watch.idle_rates import IdleRates
from unbroken.watch.watch import Remark, Watch

OnDiverged = Literal["stop", "continue"]


class ResumeMonitor:
    """Compares the steps after a resume with what is known; of a run that just began, nothing is.

    Args:
        log: Says what is found.
        on_diverged: What to do when a step proves that this is another training.
        checkpoint: Name of the checkpoint; empty where a run began again without one.
        replay: Compares repeated steps with the journal.
        watch: Compares later ones with the trend before.
        first_losses: Compares the first losses; None where a probe or the journal tells.
        first_updates: Looks at the first updates.
        repeatability: Knows whether the run repeats itself.
    """

    def __init__(
        self,
        log: ResumeLog,
        on_diverged: OnDiverged = "stop",
        *,
        checkpoint: str = "",
        replay: Replay | None = None,
        watch: Watch | None = None,
        first_losses: FirstLosses | None = None,
        first_updates: FirstUpdates | None = None,
        repeatability: Repeatability | None = None,
    ) -> None:
        self._log = log
        self._goes_on = on_diverged == "continue"
        self._checkpoint = checkpoint
        self._replay = replay
        self._watch = watch
        self._first_losses = first_losses
        self._first_updates = first_updates
        self._idle = IdleRates()
        self._repeatability = repeatability
        self._ended: float | None = None
        self._last_step = 0
        self._has_trained = False
        self._conclude(self.verdict)

    @property
    def verdict(self) -> ReplayVerdict | None:
        """What the replay came to; None while it goes on, or where nothing was resumed."""
        return self._replay.verdict if self._replay else None

    @property
    def remarks(self) -> list[Remark]:
        """What the watch has said."""
        return self._log.remarks

    def listen(self, tell: Callable[[str], None]) -> None:
        """Give lines to `tell` from now on, instead of the log; those that wait as well."""
        self._log.listen(tell)

    def nothing_to_train(self) -> None:
        """Claim nothing, and drop what waits to be told: no step follows that it would be about."""
        self._replay = None
        self._log.drop_waiting()

    def finished(self) -> None:
        """Say that the run is finished, where no step was trained and none was to be repeated."""
        verdict = self.verdict
        if not self._has_trained and verdict is not None and not verdict.known:
            self.nothing_to_train()
            self._log.finished(verdict.step)

    @property
    def asks_for_draws(self) -> bool:
        """Whether the replay wants to know if a step draws random numbers."""
        return self._replay is not None and self._replay.asks_for_draws

    def allow_repeating(self) -> None:
        """Let the replay ask for the steps since the checkpoint once more.

        Not where the run goes on whatever comes: a loop that was not repeated would use other samples.
        """
        if self._replay is not None and not self._goes_on:
            self._replay.can_repeat = self._repeatability is None or self._repeatability.of_loop

    @property
    def asks_to_repeat(self) -> bool:
        """Whether the checkpoint's state should be put back, and its steps be repeated once more."""
        return self._replay is not None and self._replay.asks_to_repeat

    def begin_again(self, *, is_put_back: bool) -> None:
        """Expect the steps since the checkpoint once more, if its state could be put back."""
        if self._replay is not None and is_put_back:
            self._replay.begin_again()
        elif self._replay is not None:
            self._conclude(self._replay.give_up_repeating())

    def step(
        self,
        line: Mapping[str, Any],
        rates: Mapping[str, float] | None = None,
        *,
        drew: bool = False,
    ) -> None:
        """Take in a completed step.

        Args:
            line: Its line in the journal.
            rates: Learning rates it was made with, by group; None where they are not known.
            drew: Whether it drew random numbers, where that was asked for.

        Raises:
            Diverged: It proves that this is another training than the one that was saved.
        """
        self._has_trained = True
        self._log.say_waiting()
        self._log.remark(self._idle.take(line, rates))
        if self._repeatability is not None:
            self._repeatability.step_done()
        if self._watch is None or self._replay is None:
            self._log.say_waiting()
            return
        now = time.monotonic()
        seconds, self._ended = None if self._ended is None else now - self._ended, now
        self._log.say_waiting()
        is_new = line["step"] > self._last_step
        self._last_step = max(self._last_step, line["step"])
        verdict = self._replay.take(line, drew=drew)
        is_repeated = self._replay.repeats_exactly
        remarks = self._watch.take(line, seconds, rates, is_repeated=is_repeated) if is_new else []
        self._log.remark(remarks)
        if verdict is not None:
            self._conclude(verdict)
            self._require_undiverged()
        if self._first_losses is not None:
            self._require_no_leap(line, self._first_losses.take(line, remarks))

    def state_is_as_saved(self) -> None:
        """Take in that the state was the checkpoint's, to the last bit, just before the first step."""
        if self._replay is not None:
            self._replay.is_as_saved = True

    @property
    def looks_at_updates(self) -> bool:
        """Whether `before_update` and `after_update` have something to look at."""
        return self._first_updates is not None

    def before_update(self, step: int, stepped: Collection[str] = ()) -> None:
        """Look at the gradients of a step that are about to be applied, after a resume.

        Args:
            step: Its number.
            stepped: Leaf paths of what the loop's own updates have moved in it already.
        """
        without = [] if self._first_updates is None else self._first_updates.before(stepped)
        if not without:
            return
        count = counted(len(without), "trained parameter")
        sentence = (
            f"no gradient by step {step:,}: {count} had none since the resume, though moments tell of "
            f"some before: {', '.join(without[:3])}"
        )
        self._log.remark([Remark(kind="no gradient", step=step, sentence=sentence, is_alarm=True)])

    def before_own_update(self) -> None:
        """Look at what is frozen before the loop's own first update; the gradients are seen later."""
        if self._first_updates is not None:
            self._first_updates.hold()

    def after_update(self, step: int) -> None:
        """Look at what the update did.

        Raises:
            Diverged: The first one after the resume moved what is frozen.
        """
        if self._first_updates is None:
            return
        moved = self._first_updates.after()
        if self._first_updates.is_over:
            self._first_updates = None
        if moved:
            self._end(
                MASKING_FAILED if any(moved.values()) else FROZEN_MOVED,
                f"{', '.join(list(moved)[:3])} moved in the first update after the resume",
                step,
                "What is frozen would go on to move with each update. This step was not saved.",
            )

    def close(self, *, is_finished: bool = False) -> None:
        """Conclude from what was repeated, where training ends before all of it was.

        Args:
            is_finished: Whether all that was asked for is trained.
        """
        if is_finished:
            self.finished()
        if self._repeatability is not None:
            self._repeatability.close()
        if self._replay is not None:
            self._conclude(self._replay.finish())
        self._log.remark(self._idle.end())
        self._log.say_waiting()

    def _conclude(self, verdict: ReplayVerdict | None) -> None:
        """Tell a new verdict and write it into the history."""
        if verdict is None:
            return
        self._log.verdict(verdict)
        if self._replay is not None and self._replay.loop_went_on:
            self._log.loop_went_on()
        if verdict.outcome is ReplayOutcome.DIVERGED:
            self._log.diverged(verdict.step, verdict.reason, continued=self._goes_on)

    def _require_undiverged(self) -> None:
        verdict = self.verdict
        if verdict is None or verdict.outcome is not ReplayOutcome.DIVERGED or self._goes_on:
            return
        if self._replay is not None and self._replay.loop_went_on:
            raise Diverged(
                f"{verdict}.",
                "Whether this run's arithmetic repeats itself can't be seen in such a loop, and this "
                "process has used other samples than the run's. It was not saved.",
                "Start again: the next start repeats nothing in one process. To "
                "have noise measured, take the samples of each micro-batch from its `indices`.",
            )
        since = f"resumed from {self._checkpoint}" if self._checkpoint else "begun again"
        raise Diverged(
            f"{verdict}.",
            f"The run, {since}, repeats steps that the journal knows, and this one came out "
            "otherwise: from here on it would be another training. It was not saved.",
            "Put back what changed and start the program again; to go on with the other training, give "
            'on_diverged="continue".',
            topic="diverged",
        )

    def _require_no_leap(self, line: Mapping[str, Any], leap: tuple[str, str] | None) -> None:
        if leap is None:
            return
        self._first_losses = None
        why = (
            "The checkpoint holds no probe, so the first losses have to tell: weights, data or the "
            "model are not what they were. This step was not saved."
        )
        self._end(*leap, line["step"], why, ", and probe=")

    def _end(self, headline: str, found: str, step: int, why: str, also: str = "") -> None:
        """Tell what makes it another training, and stop unless it was asked to go on."""
        self._log.say(headline, is_alarm=True)
        self._log.diverged(step, f"{headline}: {found}", continued=self._goes_on)
        if not self._goes_on:
            raise Diverged(
                f"{headline} at step {step:,}: {found}.",
                why,
                "Put back what changed and start the program again; to go on all the same, give "
                f'on_diverged="continue"{also}.',
                topic="diverged",
            )
