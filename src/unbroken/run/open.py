"""One start of a run: take the directory, restore, decide, open the record. In this order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from unbroken.checkpoint.initial_facts import InitialFacts, write_initial_facts
from unbroken.checkpoint.lock import WriterLock
from unbroken.checkpoint.saver import Saver
from unbroken.checks.check import CheckOutcome
from unbroken.checks.logs_continue import JOURNAL, LogsContinue
from unbroken.checks.probe_loss_reproduced import ProbeLossReproduced
from unbroken.errors import ResumeRefused, SaveFailed
from unbroken.journal.change import arithmetic_facts
from unbroken.journal.logs import logs_of
from unbroken.journal.past import Past, changes_training, read_past
from unbroken.journal.record import RunRecord, note_in_history
from unbroken.replay.arithmetic import arithmetic_of
from unbroken.run import resume as resuming
from unbroken.watch.first_updates import FirstUpdates
from unbroken.watch.watch import WATCHED_STEPS

if TYPE_CHECKING:
    from unbroken.run.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a run writes through once it was opened, and what its resume came to."""

    report: resuming.ResumeReport
    saver: Saver
    record: RunRecord
    lock: WriterLock


def open_run(run: Run, source: resuming.ResumeSource, policy: resuming.ResumePolicy) -> Opened:
    """Continue or begin a run in its directory; whatever fails, the directory is given back.

    Raises:
        ResumeRefused: Something critical differs. No checkpoint, no line of the journal and not
            `latest` was changed.
        StateMismatch: The checkpoint doesn't fit the live objects. Nothing was changed.
        DirectoryInUse: Another process writes to the run. Nothing was changed.
    """
    lock = WriterLock(source.layout)
    lock.take()
    try:
        source = resuming.confirm_source(source)
        if run.inspector.probe is not None and source.run_id is not None:
            run.inspector.probe.take_kept(source.layout)
        if source.checkpoint is None:
            restored = resuming.begin_again(source, run.inspector, policy)
        else:
            restored = resuming.restore(source.checkpoint, run.inspector, policy)
            run.metrics = dict(source.checkpoint.manifest.metrics)
        run.restored = restored.live
        run.facts["order"] = run.order.facts()
        lock.require_ours()
        initial = source.initial_facts()
        run.run_id, moved = resuming.enter(source, run.order.seed)
        now = _keep_beginning(run, source)
        past = _past(run, source, restored.report)
        slow = resuming.slow_save(source.layout, run.grace_seconds)
        told = _told(restored) | ({} if now is None else {"began_with": now.digest})
        if _is_other_journal(restored.report):
            told["journal_from"] = logs_of(source.layout)["journal_bytes"]
        saver, record = _open(run, source, lock, told)
        if source.run_id is not None:
            is_same = initial is not None and now is not None and initial.digest == now.digest
            _begin_monitor(run, source, restored, past, record, is_same_beginning=is_same)
    except BaseException as error:
        try:
            if isinstance(error, ResumeRefused) and error.report is not None:
                note_in_history(source.layout, "refused", **_findings(error.report, error.decision))
        finally:
            lock.release()
        raise
    report = resuming.ResumeReport(
        outcome=source.outcome,
        position=run.position,
        checkpoint=source.checkpoint.path if source.checkpoint else None,
        steps_to_repeat=len(past.beyond),
        changed=restored.changed,
        notes=(*source.notes, *_cannot_compare(source, initial), *moved, *slow),
        checks=restored.report,
        decision=restored.decision,
    )
    return Opened(report=report, saver=saver, record=record, lock=lock)


def _cannot_compare(source: resuming.ResumeSource, initial: InitialFacts | None) -> list[str]:
    """Say so where a run begins again and nothing tells what it was begun with."""
    if source.outcome != "began again" or initial is not None or not source.has_trained:
        return []
    name = source.layout.start_file.name
    return [f"{name} is not there: what the run was begun with could not be compared"]


def _keep_beginning(run: Run, source: resuming.ResumeSource) -> InitialFacts | None:
    """Keep the probe, and what a run begins with; return the latter where it begins."""
    initial = None
    try:
        if run.inspector.probe is not None:
            run.inspector.probe.keep(run.layout)
        if source.checkpoint is None:
            initial = InitialFacts(facts=run.facts, digest=run.inspector.digest())
            write_initial_facts(run.layout, run.run_id, initial)
    except OSError as error:
        raise SaveFailed(
            f"What the run begins with could not be kept in {run.layout.root}: {error}.",
            "Nothing was trained yet; without it no resume could compare what the model computes.",
            "Free space on the disk, or check its permissions, and start again.",
        ) from error
    return initial


def _past(run: Run, source: resuming.ResumeSource, report: resuming.Report) -> Past:
    if source.run_id is None or _is_other_journal(report):
        return Past()
    saved = source.checkpoint
    facts = arithmetic_facts(run.facts)
    return read_past(
        source.layout,
        run.position.step,
        saved_by=saved.manifest.start if saved else 0,
        facts=facts,
        saved_facts=arithmetic_facts(saved.facts()) if saved else facts,
    )


def _open(
    run: Run, source: resuming.ResumeSource, lock: WriterLock, told: dict[str, Any]
) -> tuple[Saver, RunRecord]:
    """Open saver, journal and history; from here on this process writes to the run."""
    record = RunRecord(run.layout, run.due.max_lost_minutes)
    saver = Saver(
        run.layout,
        run.run_id,
        keep=run.keep,
        keep_every=run.keep_every,
        best_by=run.best_by,
        before_commit=record.sync,
        after_commit=lambda place: record.saved(place, saver.held_seconds, saver.write_seconds),
        require_ours=lock.require_ours,
    )
    saver.store.sweep()
    if source.checkpoint is not None:
        saver.resumed_from(source.checkpoint)
    record.begin(
        resumed_from=source.checkpoint.path.name if source.checkpoint else None,
        step=run.position.step,
        samples=run.position.samples,
        computed_with=arithmetic_facts(run.facts),
        **told,
    )
    if run.overlap:
        saver.overlap(run.optimizers)
    lock.before_handing_over = saver.hand_over
    return saver, record


def _is_other_journal(report: resuming.Report) -> bool:
    return any(
        each.id == LogsContinue.id
        and each.outcome is CheckOutcome.DIFFERS
        and each.numbers.startswith(JOURNAL)
        for each in report.findings
    )


def _begin_monitor(
    run: Run,
    source: resuming.ResumeSource,
    restored: resuming.Restored,
    past: Past,
    record: RunRecord,
    *,
    is_same_beginning: bool,
) -> None:
    """Give the monitor what the steps to come are compared with."""
    taken = [each.id for each in restored.decision.use_new]
    why = ""
    if source.checkpoint is None and not is_same_beginning:
        why = "the run began again without a checkpoint, from whatever it was built with"
    elif _is_other_journal(restored.report):
        why = "the journal is not the one that was there at the save"
    elif changes_training(taken):
        why = f"new values act: {', '.join(changes_training(taken))}"
    run.monitor.begin(
        past,
        run.position,
        record.note,
        checkpoint=source.checkpoint.path.name if source.checkpoint else "",
        arithmetic=partial(arithmetic_of, run.facts, run.state.trained.values()),
        why_unproved=why,
        rates=run.inspector.foreseen_rates(WATCHED_STEPS),
        has_probe=not any(
            each.id == ProbeLossReproduced.id and each.outcome is CheckOutcome.CANNOT_COMPARE
            for each in restored.report.findings
        ),
    )
    frozen = run.inspector.frozen
    run.monitor.first_updates = FirstUpdates(run.state.trained, frozen, run.optimizers)


def _told(restored: resuming.Restored) -> dict[str, Any]:
    if not restored.report.findings:
        return {}
    return {"checks": _findings(restored.report, restored.decision)}


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
