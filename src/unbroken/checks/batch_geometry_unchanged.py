"""A step uses as many samples as it did.

Compares: the effective batch (samples of a step); and, as a note, how it is cut into micro-batches.

Why: another effective batch is another noise and another number of steps an epoch. Another cut of
the same step batch changes nothing beyond rounding and dropout masks, unless the model normalises
across the samples of a micro-batch (BatchNorm): then it is another noise as well.

Does not: compare speed or memory.
"""

from __future__ import annotations

from typing import ClassVar

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
    """A step uses as many samples as it did."""

    id: ClassVar[str] = "batch-geometry-unchanged"
    title: ClassVar[str] = "A step uses as many samples as it did"
    area: ClassVar[str] = "order and randomness"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.TAKE_NEW
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "Another effective batch has other noise and other steps to an epoch."
    cause: ClassVar[str] = "--batch-size and --grad-accumulation multiply to another number."
    remedy: ClassVar[str] = (
        "To keep the run's, leave out --grad-accumulation: any --batch-size cuts the same steps."
    )
    covers: ClassVar[tuple[str, ...]] = (
        "order.effective_batch",
        "order.earlier",
        "execution.batch",
        "execution.accumulation",
    )
    AGREES: ClassVar = (
        (
            StateSummary(facts={"order": {"effective_batch": 32}}),
            StateSummary(facts={"order": {"effective_batch": 32}}),
        ),
    )
    DIFFERS: ClassVar = (
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
        """Compare the effective batches, and tell of another cut."""
        before, now = saved.fact("order.effective_batch"), live.fact("order.effective_batch")
        if before is None:
            return cannot_compare("the checkpoint does not say", severity=Severity.CRITICAL)
        if before != now:
            return differs(
                f"{now} samples a step, was {before}",
                headline=f"WARNING: Batch size changed! Checkpoint: {before}, Current: {now}",
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
                headline=f"NOTE: {cut}: effective batch {now} unchanged: no effect",
            )
        return agrees(f"effective batch {now}")
