"""The effective batch is unchanged.

Compares: the effective batch (samples of a step); and, as a note, the size of its micro-batches.

Why: another effective batch changes the noise of the gradient and the number of steps per epoch.
Other micro-batches of the same step batch only change rounding and dropout masks, unless the model
normalises across the samples of a micro-batch (BatchNorm): then they change the noise as well.

Does not: compare speed or memory.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    OnAccept,
    Severity,
    Stage,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary


class BatchGeometryUnchanged(Check):
    """The effective batch is unchanged."""

    id = "batch-geometry-unchanged"
    title = "The effective batch is unchanged"
    area = "order and randomness"
    severity = Severity.WARNING
    on_accept = OnAccept.TAKE_NEW
    stage = Stage.BEFORE
    why = "Another effective batch changes the noise of the gradient and the number of steps per epoch."
    cause = "`StepBatches` was given another effective batch."
    remedy = (
        "To keep the run's, give `StepBatches` its effective batch: micro-batches of any size cut the "
        "same steps."
    )
    covers = (
        "order.effective_batch",
        "order.earlier",
        "execution.batch",
        "execution.accumulation",
    )
    AGREES = (
        (
            StateSummary(facts={"order": {"effective_batch": 32}}),
            StateSummary(facts={"order": {"effective_batch": 32}}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(facts={"order": {"effective_batch": 8}}),
            StateSummary(facts={"order": {"effective_batch": 64}}),
        ),
        (
            StateSummary(facts={"order": {"effective_batch": 8}, "execution": {"batch": 4}}),
            StateSummary(
                facts={"order": {"effective_batch": 8}, "execution": {"batch": 2}},
                evidence={"across_samples": ["model.norm"]},
            ),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the effective batches, and note other micro-batches."""
        before, now = saved.fact("order.effective_batch"), live.fact("order.effective_batch")
        if before is None:
            return cannot_compare("the checkpoint does not say", severity=Severity.CRITICAL)
        if before != now:
            return differs(
                f"{now} samples a step, was {before}",
                headline=f"WARNING: Batch size changed! Checkpoint: {before}, Current: {now}. If the run "
                "goes on, the new size acts from the first sample not yet trained",
            )
        cuts = [each.fact("execution.batch") for each in (saved, live)]
        if cuts[0] != cuts[1]:
            cut = f"micro-batches of {cuts[1]}, were {cuts[0]}"
            across = live.evidence.get("across_samples", [])
            if across:
                said = f"{cut}: {across[0]} normalises across the samples of a micro-batch"
                return differs(said, *across, headline=f"WARNING: {said}")
            return agrees(
                f"effective batch {now}, {cut}",
                headline=f"NOTE: {cut}: effective batch {now} unchanged; last bits and dropout masks "
                "are others",
            )
        return agrees(f"effective batch {now}")
