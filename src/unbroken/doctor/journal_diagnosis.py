"""Diagnoses the resumes of a run from journal and history, by replay and watch in retrospect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checks.learning_rate_continues import LearningRateContinues
from unbroken.doctor.diagnosis import Clue, Diagnosis, Resumption
from unbroken.doctor.sessions import (
    WINDOW,
    Around,
    JournalSession,
    ReportProgress,
    as_line,
    numbered_lines,
    read_sessions,
)
from unbroken.errors import UnbrokenError
from unbroken.journal.change import EnvironmentChange, changes
from unbroken.journal.past import Lines, Reference, changes_training
from unbroken.replay.arithmetic import arithmetic_of
from unbroken.replay.replay import Replay, ReplayOutcome, ReplayVerdict
from unbroken.watch.foreseen_rates import ForeseenRates
from unbroken.watch.watch import Remark, Watch

BROKEN = frozenset(
    {"loss spike", "suspicious drop", "learning rate", "gradient norm", "skipped updates",
     "not finite"}
)  # fmt: skip
"""Remarks of the watch that mean another training; those on speed and plateaus don't."""

CHOSEN = frozenset({"batch", "learning rate", "updates"})
"""Clues about settings; if a change of them was accepted, they are no break."""

RATE = "learning rate"
"""The watch's kind of remark for a rate off its curve."""

GAP_SECONDS = 3600.0
"""Shortest pause between two starts to be mentioned."""


def diagnose_journal(
    layout: Layout, run_id: str = "", report: ReportProgress = lambda _done, _total: None
) -> Diagnosis:
    """Return the diagnosis of a run's resumes from its journal.

    Args:
        layout: The run's directory; nothing is changed.
        run_id: The run, if known.
        report: Called with bytes read; the total is twice the size of the journal.
    """
    size = layout.journal.stat().st_size
    sessions = read_sessions(layout, lambda done, _: report(done, 2 * size))
    around, kept = Around(sessions), Lines()
    lines = numbered_lines(layout.journal, lambda done, _: report(size + done, 2 * size))
    found = []
    for i, session in enumerate(sessions):
        own: Lines = {}
        for step, _, raw in islice(lines, session.lines):
            if around.has(step) and (line := as_line(raw)):
                own[step] = line
        if i:
            found.append(_Examination(layout, sessions[: i + 1], kept, own).resumption())
        _go_on(kept, session, own)
        oldest = min((each.begins_at for each in sessions[i + 1 :]), default=0) - WINDOW
        kept = {step: line for step, line in kept.items() if step > oldest}
    report(2 * size, 2 * size)
    return Diagnosis(
        path=str(layout.root),
        run_id=run_id,
        source="journal",
        starts=len(sessions),
        first_step=min((each.first for each in sessions), default=0),
        last_step=sessions[-1].last if sessions else 0,
        resumptions=tuple(found),
    )


def _go_on(kept: Lines, session: JournalSession, own: Lines) -> None:
    """Add the lines of a session to the run's past."""
    if session.was_caught:
        return  # nothing continued from it
    if changes_training(session.checks.get("taken", ())):
        for step in [each for each in kept if each > session.begins_at]:
            del kept[step]  # deliberately abandoned
    kept |= own


class _Examination:
    """Diagnoses one resume.

    Args:
        layout: The run's directory.
        sessions: All sessions up to this one.
        kept: Lines of the run before it, by step.
        own: Its own lines.
    """

    def __init__(
        self, layout: Layout, sessions: list[JournalSession], kept: Lines, own: Lines
    ) -> None:
        self.session, self.sessions, self.layout = sessions[-1], sessions, layout
        here = self.session.begins_at
        self.before = [kept[n] for n in sorted(kept) if here - WINDOW < n <= here]
        self.beyond = {n: each for n, each in kept.items() if here < n <= here + WINDOW}
        self.taken = changes_training(self.session.checks.get("taken", ()))
        self.own = [own[n] for n in sorted(own) if n <= here + WINDOW]

    def resumption(self) -> Resumption:
        """Return the diagnosis."""
        verdict, remarks = self._replay(), self._watch()
        is_exact = verdict is not None and verdict.outcome is ReplayOutcome.EXACT
        clues = [*self._of_verdict(verdict), *self._inputs(), *self._counters()]
        for each in remarks:
            is_break = each.kind in BROKEN and not is_exact
            clues += (
                [Clue(kind=each.kind, sentence=each.sentence, is_break=True)] if is_break else []
            )
        clues = list(map(self._in_view_of_acceptance, clues))
        clues += self._circumstances()
        curves = [each.sentence for each in remarks]
        if is_exact and any(each.kind in BROKEN for each in remarks):
            curves.append(
                "the repeated steps gave the same results: this is the training, not the resume"
            )
        session = self.session
        return Resumption(
            step=session.begins_at,
            source="journal",
            start=session.number or None,
            time=session.time,
            resumed_from=session.resumed_from,
            repeated=str(verdict) if verdict is not None else "",
            curves=tuple(curves),
            clues=tuple(clues),
            was_caught=session.was_caught,
        )

    def _in_view_of_acceptance(self, clue: Clue) -> Clue:
        """Return a clue, not as a break if it follows from an accepted change of batch or rate."""
        is_wanted = bool(self.taken) and clue.kind in CHOSEN
        return replace(clue, is_break=clue.is_break and not is_wanted)

    def _replay(self) -> ReplayVerdict | None:
        replay = Replay(
            {n: Reference(line, self._changes(line)) for n, line in self.beyond.items()},
            self.session.begins_at,
            arithmetic=partial(arithmetic_of, self.session.facts or {}),
            inside_step=self.session.samples > 0,
            why_unproved=f"new values acted: {', '.join(self.taken)}" if self.taken else "",
        )
        for line in self.own:
            replay.take(line, drew=True)  # the journal doesn't record it, so assume dropout masks
        replay.finish()
        return replay.verdict

    def _changes(self, line: Mapping[str, Any]) -> tuple[EnvironmentChange, ...]:
        """Return the changes of the environment since a line was written."""
        now, found = self.session.facts, {}
        for each in self.sessions[:-1]:
            if each.number >= line.get("start", 0) and None not in (each.facts, now):
                found.update({one.name: one for one in changes(each.facts or {}, now or {})})
        return tuple(found.values())

    def _watch(self) -> list[Remark]:
        """Compare the curves; an accepted rate counts as on its curve.

        The checkpoint recorded the former curve, so only the run itself could compare the rates
        with the accepted one; its remarks are in the history.
        """
        is_accepted = LearningRateContinues.id in self.session.checks.get("taken", ())
        watch = Watch(self.before, rates=self._rates())
        found = [each for line in self.own for each in watch.take(line)]
        if not is_accepted:
            return found
        said = [
            Remark(kind=RATE, step=each["step"], sentence=str(each.get("sentence")), is_alarm=True)
            for each in self.session.events
            if (each.get("event"), each.get("kind")) == ("watch", RATE)
            and type(each.get("step")) is int
        ]
        return [*said, *(each for each in found if each.kind != RATE)]

    def _rates(self) -> ForeseenRates:
        """Return the rates that the checkpoint recorded for the group in the journal."""
        place = self.layout.checkpoints / self.session.resumed_from
        if not self.session.resumed_from or not place.is_dir():
            return ForeseenRates()
        try:
            checkpoint = Checkpoint.at(place)
            evidence = checkpoint.evidence()
        except UnbrokenError:
            return ForeseenRates()
        first = next(iter(evidence.get("rates", {})), "")
        series = evidence.get("next_rates", {}).get(first, ())
        return ForeseenRates(
            updates=checkpoint.position.updates, by_group={first: series}, journalled=first
        )

    def _of_verdict(self, verdict: ReplayVerdict | None) -> list[Clue]:
        if verdict is None or verdict.outcome is not ReplayOutcome.DIVERGED:
            return []
        sentence = f"step {verdict.step:,} was repeated with {verdict.reason}"
        return [Clue(kind="repeated steps", sentence=sentence, is_break=True)]

    def _inputs(self) -> list[Clue]:
        """Compare the inputs of the steps before and after: samples and batch."""
        found = []
        seen = {
            (each.get("epoch"), each.get("sample_digest")): each["step"] for each in self.before
        }
        again = [
            (each["step"], seen[key])
            for each in self.own
            if (key := (each.get("epoch"), each.get("sample_digest"))) in seen
            and key[1] is not None
            and seen[key] != each["step"]
        ]
        if again:
            step, was = again[0]
            found.append(
                Clue(
                    kind="repeated samples",
                    sentence=f"{len(again)} steps use samples that were used in the same epoch: "
                    f"step {step:,} those of step {was:,}",
                    is_break=True,
                )
            )
        for name, said, kind in (
            ("samples", "samples of a step", "batch"),
            ("micro_batch", "samples of a micro-batch", ""),
        ):
            was, now = _largest(self.before, name), _largest(self.own, name)
            if None not in (was, now) and was != now:
                sentence = f"{said}: {now}, were {was}"
                found.append(Clue(kind=kind, sentence=sentence, is_break=kind == "batch"))
        return found

    def _counters(self) -> list[Clue]:
        """Compare step and updates of the last line before with the first one after."""
        if not self.before or not self.own:
            return []
        last, first = self.before[-1], self.own[0]
        found = []
        if last["step"] + 1 < first["step"]:
            gap = f"{last['step'] + 1:,} to {first['step'] - 1:,}"
            found.append(Clue(kind="", sentence=f"the journal has no line of the steps {gap}"))
        was, now = last.get("updates"), first.get("updates")
        if type(was) is int and type(now) is int and last["step"] + 1 == first["step"]:
            made = now - was
            if made not in (0, 1):
                sentence = f"{made:+,} updates in one step: {now:,}, were {was:,}"
                found.append(Clue(kind="updates", sentence=sentence, is_break=True))
        return found

    def _circumstances(self) -> list[Clue]:
        """Return other circumstances of this start."""
        session, before = self.session, self.sessions[-2]
        found = [
            Clue(
                kind="accepted" if each in self.taken else "",
                sentence=f"accepted at the resume: {each}",
            )
            for each in session.checks.get("taken", ())
        ]
        found += [
            Clue(kind="", sentence=f"the checks said: {each.get('id')}: {each.get('found')}")
            for each in session.checks.get("findings", ())
            if isinstance(each, dict) and each.get("outcome") == "differs"
        ]
        if session.facts is not None and before.facts is not None:
            changed = changes(before.facts, session.facts)
            found += [Clue(kind="", sentence=f"changed: {each}") for each in changed]
        if session.time and session.silent_since:
            gap = session.time - session.silent_since
            if gap > GAP_SECONDS:
                told_gap = f"{gap / 3600:.1f} hours after the last sign of life"
                found.append(Clue(kind="", sentence=told_gap))
        return found


def _largest(lines: Iterable[Mapping[str, Any]], name: str) -> int | None:
    """Return the usual size of a batch: the most frequent, and of those the largest."""
    sizes = Counter(each[name] for each in lines if type(each.get(name)) is int)
    return max(sizes, key=lambda size: (sizes[size], size), default=None)
