"""What watches the first steps after a resume: the replay, the watch, the run's own noise."""

from __future__ import annotations

from functools import partial

from unbroken.checks.check import CheckOutcome
from unbroken.checks.logs_continue import JOURNAL, LogsContinue
from unbroken.checks.probe_loss_reproduced import ProbeLossReproduced
from unbroken.journal.change import arithmetic_facts
from unbroken.journal.past import Past, changes_training
from unbroken.journal.record import RunRecord
from unbroken.replay.arithmetic import arithmetic_of
from unbroken.replay.replay import Replay
from unbroken.run import resume as resuming
from unbroken.run.enter import Entered
from unbroken.run.inspector import COMPUTED_ON
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.plan import RunPlan
from unbroken.run.repeatability import (
    Repeatability,
    is_loop_repeatable,
    known_noise,
    trained_models,
)
from unbroken.run.resume_log import ResumeLog
from unbroken.watch.first_loss import FirstLosses
from unbroken.watch.first_updates import FirstUpdates
from unbroken.watch.watch import WATCHED_STEPS, Watch


def monitor_of(
    plan: RunPlan,
    source: resuming.ResumeSource,
    restored: resuming.Restored,
    entered: Entered,
    past: Past,
    record: RunRecord,
) -> ResumeMonitor:
    """Return what compares the steps to come with what is known."""
    log, position = ResumeLog(record.note), plan.state.position
    repeatability = _repeatability(plan, source, log)
    if source.run_id is None:
        return ResumeMonitor(log, plan.on_diverged, repeatability=repeatability)
    if past.starts_without_a_step > 1:
        log.say(
            f"[Watch] the last {past.starts_without_a_step} starts from here completed no step "
            "(out of memory?)",
            is_alarm=True,
        )
    why_unproved = _why_unproved(source, restored, entered)
    is_known = position.step + 1 in past.beyond or _probe_tells(restored.report)
    rates = plan.inspector.foreseen_rates(WATCHED_STEPS)
    frozen = plan.inspector.frozen
    return ResumeMonitor(
        log,
        plan.on_diverged,
        checkpoint=source.checkpoint.path.name if source.checkpoint else "",
        replay=Replay(
            past.beyond,
            position.step,
            arithmetic=partial(arithmetic_of, plan.inspector.facts, plan.state.trained.values()),
            inside_step=position.samples > 0,
            why_unproved=why_unproved,
            noise=lambda: repeatability.of_all,
            computed_on=restored.evidence.get(COMPUTED_ON, ""),
            also_changed=[str(each) for each in restored.changed if not each.is_new],
        ),
        watch=Watch(past.before, past.seconds_per_step, rates),
        first_losses=None if is_known or why_unproved else FirstLosses(past.before),
        first_updates=FirstUpdates(plan.state.trained, frozen, plan.updater.optimizers),
        repeatability=repeatability,
    )


def _repeatability(plan: RunPlan, source: resuming.ResumeSource, log: ResumeLog) -> Repeatability:
    """Return what knows the run's own noise, or measures it within the first step."""
    facts = arithmetic_facts(plan.inspector.facts)
    computed_in = str(arithmetic_of(plan.inspector.facts, plan.state.trained.values()))
    known = known_noise(source.layout, facts, computed_in) if source.run_id else None
    return Repeatability(
        trained_models(plan.state),
        known,
        lambda noise, why: log.repeatability(
            noise, why, computed_in=computed_in, computed_with=facts
        ),
        of_loop=is_loop_repeatable(source.layout),
    )


def _probe_tells(report: resuming.Report) -> bool:
    """Say whether a probe has told that the model computes what it did."""
    return not any(
        each.id == ProbeLossReproduced.id and each.outcome is CheckOutcome.CANNOT_COMPARE
        for each in report.findings
    )


def _why_unproved(
    source: resuming.ResumeSource, restored: resuming.Restored, entered: Entered
) -> str:
    """Say why repeated steps can prove nothing; empty where they can."""
    taken = changes_training([each.id for each in restored.decision.use_new])
    if source.checkpoint is None and not entered.is_same_beginning:
        return "the run began again without a checkpoint, from whatever it was built with"
    if is_other_journal(restored.report):
        return "the journal is not the one that was there at the save"
    return f"new values act: {', '.join(taken)}" if taken else ""


def is_other_journal(report: resuming.Report) -> bool:
    """Say whether the journal is not the one that was there at the save."""
    return any(
        each.id == LogsContinue.id
        and each.outcome is CheckOutcome.DIFFERS
        and any(one.path == JOURNAL for one in each.differences)
        for each in report.findings
    )
