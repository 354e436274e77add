"""Open a run: take its directory, compare, restore, compare again, decide, enter. In this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from unbroken.audit.self_audit import SelfAudit
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import WriterLock
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.saver import Saver
from unbroken.checkpoint.shared_commit import SharedCommit
from unbroken.errors import ResumeRefused
from unbroken.journal.change import arithmetic_facts
from unbroken.journal.logs import logs_of
from unbroken.journal.past import Past, read_past
from unbroken.journal.record import RunRecord, note_in_history
from unbroken.ranks.group import Ranks, together
from unbroken.run import resume as resuming
from unbroken.run.bookkeeping import StepBookkeeping
from unbroken.run.enter import Entered
from unbroken.run.leaving import Leaving
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.plan import RunPlan
from unbroken.run.resume_monitor import is_other_journal, monitor_of
from unbroken.run.sample_ledger import SampleLedger
from unbroken.run.saves import CheckpointSaves
from unbroken.run.shared_start import (
    NoLock,
    confirmed,
    enter_together,
    lock_of,
    require_same_program,
)
from unbroken.run.shared_step import SharedStep
from unbroken.run.told_unsaved import note_of, told_unsaved
from unbroken.trackers.tracking import Tracking


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that this process writes to."""

    layout: Layout
    run_id: str
    lock: WriterLock | NoLock
    record: RunRecord
    saves: CheckpointSaves
    monitor: ResumeMonitor
    book: StepBookkeeping
    leaving: Leaving
    audit: SelfAudit
    tracking: Tracking
    restored: resuming.Restored
    """What the restore came to; it can be done once more."""
    ranks: Ranks
    """The processes that train."""
    metrics: Mapping[str, float]
    """The scores that the checkpoint has."""
    report: resuming.ResumeReport
    """What the resume came to."""

    def close(self, *, is_stopped: bool) -> None:
        """Wait for the save that is being written, close the journal, give the directory back.

        Args:
            is_stopped: Whether a stop was saved.

        Raises:
            SaveFailed: That save went wrong.
        """
        with ExitStack() as ending:  # each of them, whatever goes wrong with another; last first
            ending.callback(self.lock.release)
            ending.callback(self.tracking.close, is_stopped=is_stopped)
            ending.callback(self.record.close)
            ending.callback(self.leaving.closed, is_stopped=is_stopped)
            ending.callback(self.saves.saver.close)
            ending.callback(self.monitor.close, is_finished=self.leaving.is_finished)
            ending.callback(self.audit.close)


def open_run(
    plan: RunPlan, source: resuming.ResumeSource, policy: resuming.ResumePolicy, ranks: Ranks
) -> OpenRun:
    """Continue or begin a run in its directory; whatever fails, the directory is given back.

    Raises:
        ResumeRefused: Something critical differs. No checkpoint, no line of the journal and not
            `latest` was changed.
        StateMismatch: The checkpoint doesn't fit the live objects. Nothing was changed.
        DirectoryInUse: Another process writes to the run. Nothing was changed.
        RankFailed: Another rank failed, so that none goes on.
    """
    lock = lock_of(ranks, source.layout)
    plan.inspector.trained_by(ranks.count)
    with together(ranks):
        lock.take()
    with _given_back_on_failure(lock, source.layout):
        require_same_program(ranks, plan)
        source = confirmed(ranks, source, may_move=plan.may_move)
        with together(ranks):
            restored = _restored(plan, source, policy)
        lock.require_ours()
        entered = enter_together(ranks, source, plan, restored.evidence)
        past = _past(plan, source, restored.report)
        unsaved = told_unsaved(source)
        record, saver = _begin_writing(plan, source, lock, restored, entered, ranks)
        monitor = monitor_of(plan, source, restored, entered, past, record)
        audit = SelfAudit(plan.state, record.note)
    return OpenRun(
        layout=source.layout,
        run_id=entered.run_id,
        lock=lock,
        record=record,
        saves=_saves(plan, source, entered.run_id, record, saver, audit),
        monitor=monitor,
        book=StepBookkeeping(
            plan.order,
            plan.state,
            plan.updater,
            monitor,
            plan.streams,
            audit,
            tell=partial(_told, plan, saver),
            shared=SharedStep(ranks, plan.order),
            ledger=SampleLedger(plan.order, record.note),
        ),
        audit=audit,
        ranks=ranks,
        tracking=Tracking(
            plan.trackers if ranks.rank == 0 else (),
            source.layout,
            entered.run_id,
            plan.state.position.step,
            record.note,
        ),
        leaving=Leaving(plan.state, saver, record.note),
        restored=restored,
        metrics=source.checkpoint.manifest.metrics if source.checkpoint else {},
        report=replace(_report(plan, source, restored, entered, past, unsaved), rank=ranks.rank),
    )


def _saves(
    plan: RunPlan,
    source: resuming.ResumeSource,
    run_id: str,
    record: RunRecord,
    saver: Saver,
    audit: SelfAudit,
) -> CheckpointSaves:
    return CheckpointSaves(
        source.records,
        run_id,
        record.start,
        inspector=plan.inspector,
        saver=saver,
        due=plan.due,
        audit=audit,
        agreement=plan.agreement,
    )


def _told(plan: RunPlan, saver: Saver, line: Mapping[str, Any]) -> None:
    """Tell the other processes the line of a step that is done."""
    plan.inspector.replicas.step_done()
    plan.agreement.step_done(line, plan.state.position, is_written=saver.is_written)


@contextmanager
def _given_back_on_failure(lock: WriterLock | NoLock, layout: Layout) -> Iterator[None]:
    """Release the lock where opening fails; a refusal is noted in the history first."""
    try:
        yield
    except BaseException as error:
        try:
            if isinstance(error, ResumeRefused) and error.report is not None:
                note_in_history(layout, "refused", **_findings(error.report, error.decision))
        finally:
            lock.release()
        raise


def _restored(
    plan: RunPlan, source: resuming.ResumeSource, policy: resuming.ResumePolicy
) -> resuming.Restored:
    """Compare, restore, compare again and decide, with the probe that the run keeps."""
    if source.run_id is not None:
        plan.inspector.go_on_with_scheme(source.seed_scheme)
    if plan.inspector.probe is not None and source.run_id is not None:
        plan.inspector.probe.take_kept(source.layout)
    if source.checkpoint is None:
        return resuming.begin_again(source, plan.inspector, policy)
    return resuming.restore(source.checkpoint, plan.inspector, policy, source.records)


def _report(
    plan: RunPlan,
    source: resuming.ResumeSource,
    restored: resuming.Restored,
    entered: Entered,
    past: Past,
    unsaved: Sequence[str],
) -> resuming.ResumeReport:
    return resuming.ResumeReport(
        outcome=source.outcome,
        position=plan.state.position,
        checkpoint=source.checkpoint.path if source.checkpoint else None,
        steps_to_repeat=len(past.beyond),
        changed=restored.changed,
        notes=(
            *source.notes,
            *entered.notes,
            *restored.notes,
            *([note_of(unsaved)] if unsaved else []),
        ),
        checks=restored.report,
        decision=restored.decision,
    )


def _past(plan: RunPlan, source: resuming.ResumeSource, report: resuming.Report) -> Past:
    if source.run_id is None or is_other_journal(report):
        return Past()
    saved = source.checkpoint
    facts = arithmetic_facts(plan.inspector.facts)
    return read_past(
        source.records,
        plan.state.position.step,
        saved_by=_start_of(saved, source) if saved else 0,
        facts=facts,
        saved_facts=arithmetic_facts(saved.facts()) if saved else facts,
    )


def _start_of(saved: Checkpoint, source: resuming.ResumeSource) -> int:
    """Return by which start a checkpoint was saved, as the journal that is read counts them."""
    writer = saved.leader or saved if source.recorded_in else saved
    return writer.manifest.start


def _begin_writing(
    plan: RunPlan,
    source: resuming.ResumeSource,
    lock: WriterLock | NoLock,
    restored: resuming.Restored,
    entered: Entered,
    ranks: Ranks,
) -> tuple[RunRecord, Saver]:
    """Open journal, history and saver; from here on this process writes to the run."""
    layout, position = source.layout, plan.state.position
    details = _details(source, restored, entered)
    record = RunRecord(layout, plan.due.max_lost_minutes)
    saver = Saver(
        layout,
        entered.run_id,
        **plan.retention._asdict(),
        before_commit=record.sync,
        after_commit=lambda place: record.saved(place, saver.held_seconds, saver.write_seconds),
        require_ours=lock.require_ours,
        shared=None if ranks.count == 1 else SharedCommit(ranks.beside()),
    )
    saver.store.sweep()
    if source.checkpoint is not None:
        saver.resumed_from(source.checkpoint)
    record.begin(
        resumed_from=source.checkpoint.path.name if source.checkpoint else None,
        step=position.step,
        samples=position.samples,
        computed_with=arithmetic_facts(plan.inspector.facts),
        **details,
    )
    if plan.overlap:
        saver.overlap(plan.state.optimizers)
    lock.before_handing_over = saver.hand_over
    return record, saver


def _details(
    source: resuming.ResumeSource, restored: resuming.Restored, entered: Entered
) -> dict[str, Any]:
    """Return what the history keeps of a start beside where it started from."""
    details: dict[str, Any] = {}
    if restored.report.findings:
        details["checks"] = _findings(restored.report, restored.decision)
    if entered.begins_with is not None:
        details["began_with"] = entered.begins_with.digest
    if is_other_journal(restored.report):
        details["journal_from"] = logs_of(source.layout)["journal_bytes"]
    return details


def _findings(report: resuming.Report, decision: resuming.Decision) -> dict[str, Any]:
    """Return what the history keeps of a report: what did not agree, and what acts."""
    return {
        "seconds": round(report.seconds, 3),
        "state_bytes": report.state_bytes,
        "agree": sum(each.outcome == "agrees" for each in report.findings),
        "findings": [
            {
                "id": each.id,
                "outcome": each.outcome,
                "severity": each.severity,
                "found": each.numbers,
            }
            for each in report.findings
            if each.outcome != "agrees"
        ],
        "taken": [each.id for each in decision.use_new],
        "kept": [each.id for each in decision.use_saved],
        "refused": [each.id for each in decision.blocking],
    }
