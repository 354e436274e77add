"""One start of a run: take the directory, restore, decide, open the record. In this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbroken import resume as resuming
from unbroken.checkpoint.lock import WriterLock
from unbroken.errors import ResumeRefused
from unbroken.proof.journal import last_line_of_each_step
from unbroken.proof.record import note_in_history

if TYPE_CHECKING:
    from unbroken.run import Run


def start(run: Run, target: resuming.Target, policy: resuming.Policy) -> resuming.ResumeReport:
    """Continue or begin a run in its directory; whatever fails, the directory is given back.

    Raises:
        ResumeRefused: Something critical differs. No checkpoint, no line of the journal and not
            `latest` was changed.
        StateMismatch: The checkpoint doesn't fit the live objects. Nothing was changed.
        DirectoryInUse: Another process writes to the run. Nothing was changed.
    """
    lock = WriterLock(target.layout)
    lock.take()
    try:
        target = resuming.look_again(target)
        restored = resuming.restore(target.checkpoint, run.observer, policy)
        if target.checkpoint is not None:
            run.metrics = dict(target.checkpoint.manifest.metrics)
        run.facts["order"] = run.order.facts()
        lock.require_ours()
        run.run_id, moved = resuming.enter(target, run.order.seed)
        known = last_line_of_each_step(target.layout.journal) if target.run_id else {}
        slow = resuming.slow_save(target.layout, run.grace_seconds)
        run.open_record(target, lock, **_told(restored))
    except ResumeRefused as error:
        if error.report is not None:
            note_in_history(target.layout, "refused", **_findings(error.report, error.decision))
        lock.release()
        raise
    except BaseException:
        lock.release()
        raise
    return resuming.ResumeReport(
        outcome=target.outcome,
        position=run.position,
        checkpoint=target.checkpoint.path if target.checkpoint else None,
        steps_to_repeat=sum(step > run.position.step for step in known),
        changed=restored.changed,
        notes=(*target.notes, *moved, *slow),
        checks=restored.report,
        decision=restored.decision,
    )


def _told(restored: resuming.Restored) -> dict[str, Any]:
    if not restored.report.findings:
        return {}
    return {"checks": _findings(restored.report, restored.decision)}


def _findings(report: resuming.Report, decision: resuming.Decision) -> dict[str, Any]:
    """Return what the history keeps of a report: what did not agree, and what acts."""
    return {
        "seconds": round(report.seconds, 3),
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
        "taken": [each.id for each in decision.taken],
        "kept": [each.id for each in decision.kept],
        "refused": [each.id for each in decision.open],
    }
