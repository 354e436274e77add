"""The monitor of a resume while it trains: replay and watch, fed by the run at the end of each step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from unbroken.checks.frozen_rows_out_of_reach import MASKING_FAILED
from unbroken.checks.frozen_rows_unmoved import FROZEN_MOVED
from unbroken.counts import counted
from unbroken.errors import Diverged
from unbroken.journal.change import MICRO_BATCH_SIZE
from unbroken.journal.past import Past
from unbroken.replay.arithmetic import Arithmetic
from unbroken.replay.replay import Replay, ReplayOutcome, ReplayVerdict
from unbroken.state.position import Position
from unbroken.state.randomness import derived_seed, has_drawn_since
from unbroken.watch.first_loss import FirstLosses
from unbroken.watch.first_updates import FirstUpdates
from unbroken.watch.foreseen_rates import ForeseenRates
from unbroken.watch.watch import Remark, Watch

OnDiverged = Literal["stop", "continue"]
Note = Callable[..., None]
"""`note(event, **details)` writes a line into the history."""

_log = logging.getLogger("unbroken")


class ResumeMonitor:
    """What the repeated steps prove, and what the watch saw; empty for a run that just began.

    Args:
        seed: The run's, from which the randomness of each micro-batch derives.
        on_diverged: What to do when a repeated step proves that this is another training.
    """

    def __init__(self, seed: int, on_diverged: OnDiverged = "stop") -> None:
        self._seed = seed
        self._on_diverged = on_diverged
        self._note: Note = nowhere
        self._replay: Replay | None = None
        self._watch: Watch | None = None
        self._first_losses: FirstLosses | None = None
        self._checkpoint = ""
        self._largest = 0
        self._drew = False
        self._ended: float | None = None
        self._tell: Callable[[str], None] | None = None
        self._waiting: list[tuple[int, str]] = []
        self.first_updates: FirstUpdates | None = None
        """Looks at those after a resume; None where nothing was resumed, or all is known."""
        self.remarks: list[Remark] = []
        """What the watch has said."""

    @property
    def verdict(self) -> ReplayVerdict | None:
        """What the replay came to; None while it goes on, or where nothing was resumed."""
        return self._replay.verdict if self._replay else None

    def begin(
        self,
        past: Past,
        position: Position,
        note: Note,
        *,
        checkpoint: str,
        arithmetic: Callable[[], Arithmetic] = Arithmetic,
        why_unproved: str = "",
        rates: ForeseenRates | None = None,
        has_probe: bool = True,
    ) -> None:
        """Take in what there is to be compared with.

        Args:
            past: What journal and history tell.
            position: Where the run was restored to.
            note: Writes into the history.
            checkpoint: Name of the checkpoint; empty where a run began again without one.
            arithmetic: Returns what is computed in; see `Replay`.
            why_unproved: What takes the journal its force; see `Replay`.
            rates: See `Watch`.
            has_probe: Whether a probe has told that the model computes what it did. Otherwise the
                losses of the first steps tell, unless the journal knows them or others are wanted.
        """
        self._note, self._checkpoint = note, checkpoint
        self._replay = Replay(
            past.beyond,
            position.step,
            arithmetic=arithmetic,
            inside_step=position.samples > 0,
            why_unproved=why_unproved,
        )
        self._watch = Watch(past.before, past.seconds_per_step, rates)
        if not (has_probe or why_unproved or position.step + 1 in past.beyond):
            self._first_losses = FirstLosses(past.before)
        if past.starts_without_a_step > 1:
            self._say(
                f"[Watch] the last {past.starts_without_a_step} starts from here completed no step "
                "(out of memory?)",
                logging.WARNING,
            )
        self._keep(self._replay.verdict)

    def listen(self, tell: Callable[[str], None]) -> None:
        """Have lines told to `tell` from now on, instead of the log; those that wait as well."""
        self._tell = tell
        self._tell_waiting()

    def nothing_to_train(self) -> None:
        """Claim nothing, and drop what waits to be told: no step follows that it would be about."""
        self._replay, self._waiting = None, []

    def cut_into(self, samples: int) -> None:
        """Note that the step is cut into micro-batches of so many samples."""
        self._largest = samples

    def micro_batch(self, before: Position, samples: int) -> None:
        """Note that a micro-batch is done.

        Args:
            before: Where the run stood before it.
            samples: Its samples.
        """
        self._largest = max(self._largest, samples)
        if self._replay is not None and self._replay.asks_for_draws and not self._drew:
            seed = derived_seed(self._seed, before.step, before.samples)
            self._drew = has_drawn_since(seed)

    @property
    def is_watching(self) -> bool:
        """Whether the trend after a resume is still being watched."""
        return self._watch is not None and not self._watch.is_over

    def step(self, line: dict[str, Any], rates: Mapping[str, float] | None = None) -> None:
        """Take in a completed step, whose line gets the size of its micro-batches.

        Args:
            line: Its line in the journal.
            rates: Learning rates it was made with, by group; None where they are not known.

        Raises:
            Diverged: It proves that this is another training than the one that was saved.
        """
        if self._largest:
            line[MICRO_BATCH_SIZE] = self._largest
        drew, self._largest, self._drew = self._drew, 0, False
        if self._watch is None or self._replay is None:
            return
        now = time.monotonic()
        seconds, self._ended = None if self._ended is None else now - self._ended, now
        self._tell_waiting()
        remarks = self._watch.take(line, seconds, rates)
        self._remark(remarks)
        if not self._replay.is_over:
            self._keep(self._replay.take(line, drew=drew))
            self._require_undiverged()
        if self._first_losses is not None:
            self._require_no_leap(line, self._first_losses.take(line, remarks))

    def before_update(self, step: int) -> None:
        """Look at the gradients of a step that are about to be applied, after a resume."""
        without = [] if self.first_updates is None else self.first_updates.before()
        if not without:
            return
        count = counted(len(without), "trained parameter")
        told = (
            f"no gradient by step {step:,}: {count} had none since the resume, though moments tell of "
            f"some before: {', '.join(without[:3])}"
        )
        self._remark([Remark(kind="no gradient", step=step, sentence=told, is_alarm=True)])

    def after_update(self, step: int) -> None:
        """Look at what the update did.

        Raises:
            Diverged: The first one after the resume moved what is frozen.
        """
        if self.first_updates is None:
            return
        moved = self.first_updates.after()
        if self.first_updates.is_over:
            self.first_updates = None
        if moved:
            told = MASKING_FAILED if any(moved.values()) else FROZEN_MOVED
            self._end(
                told,
                f"{', '.join(list(moved)[:3])} moved in the first update after the resume",
                step,
                "What is frozen would go on to move with each update. This step was not saved.",
            )

    def close(self) -> None:
        """Conclude from what was repeated, where training ends before all of it was."""
        if self._replay is not None:
            self._keep(self._replay.finish())
        self._tell_waiting()

    def _remark(self, found: Iterable[Remark]) -> None:
        for each in found:
            self.remarks.append(each)
            self._say(
                f"[Watch] {each.sentence}", logging.WARNING if each.is_alarm else logging.INFO
            )
            self._note("watch", kind=each.kind, step=each.step, sentence=each.sentence)

    def _keep(self, verdict: ReplayVerdict | None) -> None:
        """Tell a new verdict and write it into the history."""
        if verdict is None:
            return
        diverged = verdict.outcome is ReplayOutcome.DIVERGED
        self._say(f"[Replay] {verdict}", logging.WARNING if diverged else logging.INFO)
        self._note(
            "replay",
            verdict=verdict.outcome,
            sentence=str(verdict),
            step=verdict.step,
            repeated=verdict.repeated,
            known=verdict.known,
        )
        if diverged:
            self._note(
                "diverged",
                step=verdict.step,
                reason=verdict.reason,
                continued=self._on_diverged == "continue",
            )

    def _require_undiverged(self) -> None:
        verdict = self.verdict
        if verdict is None or verdict.outcome is not ReplayOutcome.DIVERGED:
            return
        if self._on_diverged == "continue":
            return
        since = f"resumed from {self._checkpoint}" if self._checkpoint else "begun again"
        raise Diverged(
            f"{verdict}.",
            f"The run, {since}, repeats steps that the journal knows, and this one came out "
            "otherwise: from here on it would be another training. It was not saved.",
            "Put back what changed and start again with --resume auto; to go on with the other "
            'training, start with --on-diverged continue (in a program: on_diverged="continue").',
        )

    def _require_no_leap(self, line: Mapping[str, Any], leap: tuple[str, str] | None) -> None:
        if leap is None:
            return
        self._first_losses = None
        why = (
            "The checkpoint holds no probe, so the first losses have to tell: weights, data or the "
            "model are not what they were. This step was not saved."
        )
        self._end(*leap, line["step"], why, ", and give Run(...) a probe")

    def _end(self, headline: str, told: str, step: int, why: str, also: str = "") -> None:
        """Tell what makes it another training, and stop unless it was asked to go on."""
        goes_on = self._on_diverged == "continue"
        self._say(headline, logging.WARNING)
        self._note("diverged", step=step, reason=f"{headline}: {told}", continued=goes_on)
        if not goes_on:
            raise Diverged(
                f"{headline} at step {step:,}: {told}.",
                why,
                "Put back what changed and start again with --resume auto; to go on all the same, "
                f'start with --on-diverged continue (in a program: on_diverged="continue"){also}.',
            )

    def _say(self, text: str, level: int) -> None:
        self._waiting.append((level, text))
        if self._tell is not None:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        for level, text in self._waiting:
            if self._tell is None:
                _log.log(level, "%s", text)
            else:
                self._tell(text)
        self._waiting = []


def nowhere(event: str, **details: Any) -> None:
    """Stand in for the history before there is one."""
    del event, details
