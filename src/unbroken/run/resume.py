"""Compare a saved run with the live one, restore it, compare again, decide.

The only place that knows both the disk and the checks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from unbroken.checkpoint.layout import MANIFEST, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import finish_moving, run_id_of
from unbroken.checks.advice import Advice
from unbroken.checks.catalogue import every_check, require_known
from unbroken.checks.check import Check, Stage
from unbroken.checks.decision import Decision, decide
from unbroken.checks.expected_state import expected_state
from unbroken.checks.optimizer_options_unchanged import changed_options
from unbroken.checks.other_facts_unchanged import OtherFactsUnchanged
from unbroken.checks.report import Finding, Report, examine
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN, changed_settings
from unbroken.checks.state_summary import StateSummary, is_below
from unbroken.errors import ResumeRefused, StateMismatch
from unbroken.journal.logs import logs_of
from unbroken.run.accepted_curve import accepted_rates
from unbroken.run.inspector import ADDED, StateInspector
from unbroken.run.saved_summary import position_to_go_on_from, summary_of
from unbroken.run.source import ResumeSource, StartOutcome, confirm_source, find_source
from unbroken.run.taken import with_new
from unbroken.state.facts import OWN_FILES, FactDifference, differences, told_then
from unbroken.state.position import Position

REST = OtherFactsUnchanged.id

SWITCHED = "switched"
"""Evidence of a restored state: what it is after the optimisers' own `train()`; None where they are."""

__all__ = [
    "Decision",
    "Report",
    "ResumePolicy",
    "ResumeReport",
    "ResumeSource",
    "begin_again",
    "confirm_source",
    "find_source",
    "finish_moving",
    "restore",
    "run_id_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePolicy:
    """How differences are met."""

    accept: Collection[str] = ()
    """Ids of checks whose difference is accepted beforehand."""
    confirm: Callable[[Report, Decision], bool] | None = None
    """Asks a person whether to go on with the saved values; None where nobody is there."""
    may_change: Collection[str] = ()
    """Dotted names of facts that are free to change."""
    checks: Sequence[Check] = field(default_factory=every_check)
    """All that are made at the resume."""
    at_first_read: Sequence[Check] = ()
    """Those that are made when the first batch is read."""

    @classmethod
    def of(
        cls,
        may_change: Collection[str],
        added: Sequence[Check],
        advice: Mapping[str, Advice] | None,
        at_first_read: Collection[str] = (),
    ) -> ResumePolicy:
        """Return a run's own policy: the library's checks and those that were added.

        Args:
            may_change: Dotted names of facts that are free to change.
            added: Checks beside the library's.
            advice: A program's own texts, by the id of the check.
            at_first_read: Ids of the checks that are made when the first batch is read.
        """
        free = {*may_change, OWN_FILES}
        every = every_check(free, added, advice)
        later = [each for each in every if each.id in at_first_read]
        now = [each for each in every if each.id not in at_first_read]
        return cls(may_change=free, checks=now, at_first_read=later)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeReport:
    """What `Run.resume` did."""

    outcome: StartOutcome
    position: Position
    checkpoint: Path | None
    steps_to_repeat: int
    """Steps that the journal knows beyond the checkpoint."""
    changed: tuple[FactDifference, ...]
    """Facts that changed and may."""
    notes: tuple[str, ...]
    rank: int = 0
    """Number of this process, where several train."""
    checks: Report = field(default_factory=lambda: Report(findings=(), seconds=0.0))
    """What every check found; empty where a run began."""
    decision: Decision = field(default_factory=lambda: decide(Report(findings=(), seconds=0.0)))
    """What acts where something differs."""


def _nothing_again() -> None:
    """Restore nothing: the run began without a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore came to."""

    report: Report
    decision: Decision
    changed: tuple[FactDifference, ...]
    live: StateSummary | None = None
    """The live objects right after it; None where nothing was restored."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What the checkpoint knew beside its state; its files may be moved from here on."""
    again: Callable[[], None] = _nothing_again
    """Puts the saved state into the live objects once more, new values and all."""
    saved: StateSummary | None = None
    """The whole checkpoint, with parts that are only added, and restored, later."""
    checkpoint: Checkpoint | None = None
    """What was resumed; None where nothing was restored."""

    def put_back(self) -> bool:
        """Put the saved state back as it was; say whether that could be done.

        Not where new values act beside it, where a part was added since, nor where its files are gone.
        """
        if self.checkpoint is None or self.decision.use_new:
            return False
        if not (self.checkpoint.path / MANIFEST).is_file():
            return False
        try:
            self.again()
        except StateMismatch:  # nothing was changed
            return False
        return True


def restore(
    checkpoint: Checkpoint, inspector: StateInspector, policy: ResumePolicy, layout: Layout
) -> Restored:
    """Compare, restore into the live objects, compare again, decide.

    1. Facts and structure are compared before anything is touched.
    2. Where nothing forbids it, the state is put into the live objects.
    3. They are looked at again, to the last bit.

    Raises:
        ResumeRefused: Something critical differs and was neither accepted nor confirmed. Its
            `report` holds every finding. After step 1 nothing was changed; after step 2 the live
            objects refuse to train.
        SettingsInvalid: An id that was accepted names no check.
    """
    checks = policy.checks
    require_known(policy.accept, [*checks, *policy.at_first_read])
    built = inspector.structure()
    began = time.monotonic()
    whole = summary_of(checkpoint, inspector.kinds())
    inspector.state.added = list(whole.evidence.get(ADDED, []))
    saved = whole.without(inspector.state.pending)
    findings = examine(_of(checks, Stage.BEFORE), saved, built)
    decision = _decided(findings, began, policy, inspector)
    if decision.blocking and not (decision.can_be_confirmed and policy.confirm):
        raise _not_the_run(report_of(findings, began), decision)
    put_in = partial(_put_in, checkpoint, inspector, saved, built, decision)
    put_in()
    taken = {each.id for each in decision.use_new}
    inspector.note_birth(built, saved, taken)
    switched = inspector.switched()
    live = inspector.live()
    logs = logs_of(layout, saved.evidence.get("logs"))
    live = replace(live, evidence={**live.evidence, "logs": logs, SWITCHED: switched})
    expected = expected_state(saved, built, live, taken)
    findings += examine(_of(checks, Stage.AFTER), expected, live)
    decision = _decided(findings, began, policy, inspector)
    size = checkpoint.size
    report = replace(report_of(findings, began), state_bytes=size)
    if decision.blocking and not _confirmed(report, decision, policy):
        inspector.state.forbid_training()
        raise _not_the_run(report, decision)
    changed = differences(saved.facts, told_then(saved.facts, inspector.facts))
    free = [each for each in changed if is_below(each.name, policy.may_change)]
    return Restored(
        report=report,
        decision=decision,
        changed=tuple(free),
        live=live,
        evidence=saved.evidence,
        again=put_in,
        saved=whole,
        checkpoint=checkpoint,
    )


def begin_again(source: ResumeSource, inspector: StateInspector, policy: ResumePolicy) -> Restored:
    """Compare what a run without a checkpoint is begun with now and was begun with; decide.

    Nothing is restored. A new run, one that trained no step, and one whose beginning nothing tells
    of, have nothing to compare.

    Raises:
        ResumeRefused: Something critical differs and was neither accepted nor confirmed.
        SettingsInvalid: Something reaches what is frozen.
    """
    began = time.monotonic()
    require_known(policy.accept, [*policy.checks, *policy.at_first_read])
    inspector.require_out_of_reach()
    initial = source.initial_facts()
    if initial is None:
        inspector.note_birth(inspector.structure())
        nothing = Report(findings=(), seconds=0.0)
        return Restored(report=nothing, decision=decide(nothing), changed=())
    checks = [each for each in policy.checks if each.covers or each.id == REST]
    saved = StateSummary(facts=initial.facts)
    built = inspector.structure()
    now = StateSummary(facts=built.facts, evidence=built.evidence)
    findings = examine(checks, saved, now)
    decision = _decided(findings, began, policy, inspector)
    report = report_of(findings, began)
    if decision.blocking and not _confirmed(report, decision, policy):
        raise _not_the_run(report, decision)
    inspector.note_birth(built)
    changed = differences(initial.facts, told_then(initial.facts, inspector.facts))
    free = [each for each in changed if is_below(each.name, policy.may_change)]
    return Restored(report=report, decision=decision, changed=tuple(free))


def _of(checks: Collection[Check], stage: Stage) -> list[Check]:
    return [each for each in checks if each.stage is stage]


def report_of(findings: list[Finding], began: float) -> Report:
    """Return what the checks found since `began`, a reading of `time.monotonic`."""
    return Report(findings=tuple(findings), seconds=time.monotonic() - began)


def _decided(
    findings: list[Finding], began: float, policy: ResumePolicy, inspector: StateInspector
) -> Decision:
    decision = decide(report_of(findings, began), policy.accept)
    if inspector.requested_facts is not None or not decision.can_be_confirmed:
        return decision
    # The objects were built from what was asked for: there is no saved value that could act.
    return decision.without_confirmation()


def _confirmed(report: Report, decision: Decision, policy: ResumePolicy) -> bool:
    confirm = policy.confirm if decision.can_be_confirmed else None
    return confirm is not None and confirm(report, decision)


def _put_in(
    checkpoint: Checkpoint,
    inspector: StateInspector,
    summary: StateSummary,
    built: StateSummary,
    decision: Decision,
) -> None:
    """Put the saved state into the live objects, but for what a new value was taken of."""
    state = inspector.state
    saved = checkpoint.parts(state.streamed, state.device)
    taken = {each.id for each in decision.use_new}
    # Not kept otherwise: the old moments are freed before the saved ones are read.
    live = state.capture() if taken else {}
    kinds = inspector.kinds()
    curves = []
    for name in saved:
        if kinds.get(name) in (OF_RUN, OF_LOOP) and "schedule-unchanged" in taken:
            if kinds[name] == OF_LOOP:
                target = getattr(state.parts[name], "target", None)
                curves.append(accepted_rates(target, saved[name]))
            saved[name] = with_new(saved[name], live[name], changed_settings(summary, built), name)
        if kinds.get(name) == "optimizer" and "optimizer-options-unchanged" in taken:
            changed = changed_options(summary, built)
            for i, (old, new) in enumerate(
                zip(saved[name]["groups"], live[name]["groups"], strict=False)
            ):
                saved[name]["groups"][i] = with_new(old, new, changed, f"{name}.groups.{i}")
    position = position_to_go_on_from(checkpoint)
    state.restore(saved, position)
    for put in curves:
        put()
    inspector.go_on_after(summary, position)


def _not_the_run(report: Report, decision: Decision) -> ResumeRefused:
    first = decision.blocking[0]
    return refusal(report, decision, "This is not the run that was saved:", first.why, first.remedy)


def refusal(
    report: Report, decision: Decision, heading: str, why: str, remedy: str
) -> ResumeRefused:
    """Return the error for a resume that what differs forbids; it holds report and decision."""
    lines = [
        line
        for each in decision.blocking
        for line in (each.headline or f"{each.title}: no", *(each.details or (each.numbers,)))[:12]
    ]
    listed = "\n".join(f"  {each}" for each in lines)
    error = ResumeRefused(f"{heading}\n{listed}", why, remedy)
    error.report, error.decision = report, decision
    return error
