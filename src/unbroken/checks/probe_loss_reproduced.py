"""The probe gives the saved losses.

Compares: the losses of one small batch, whose tensors are kept with the run, in evaluation mode,
now and at the save.

Why: it tests the model as a whole. It finds a layer that computes something else with the saved
weights (another attention, another activation, changed code).

Does not: see the optimiser, the rate or the data: a lost optimiser changes it by 0 %.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary

ELSEWHERE = {"fp32": 1e-5, "bf16": 2e-3, "fp16": 2e-3}
"""Largest relative difference on another machine or build, where sums have another order, by
precision."""


class ProbeLossReproduced(Check):
    """The probe gives the saved losses."""

    id = "probe-loss-reproduced"
    title = "The probe gives the saved losses"
    area = "weights"
    severity = Severity.CRITICAL
    on_accept = OnAccept.KEEP_SAVED
    tolerance = "exact; on another machine 1e-5 (fp32), 2e-3 (16 bit)"
    why = "The same weights compute something else than at the save."
    cause = (
        "The model's code, its precision or its attention kernel changed; if nothing could be "
        "compared, probe.safetensors is damaged or the device is out of memory."
    )
    remedy = "Use the code and the precision of the run, and restore its probe.safetensors."
    AGREES = (
        (
            StateSummary(evidence={"probe": {"text_loss": 2.0}}),
            StateSummary(evidence={"probe": {"text_loss": 2.0}}),
        ),
        (
            StateSummary(evidence={"probe": {"loss": 2.0}}, facts={"environment": {"threads": 1}}),
            StateSummary(
                evidence={"probe": {"loss": 2.000001}}, facts={"environment": {"threads": 2}}
            ),
        ),
    )
    DIFFERS = (
        (
            StateSummary(evidence={"probe": {"text_loss": 2.0}}),
            StateSummary(evidence={"probe": {"text_loss": 2.000001}}),
        ),
        (
            StateSummary(evidence={"probe": {"text_loss": 2.1234, "mel_loss": 1.8765}}),
            StateSummary(evidence={"probe": {"text_loss": 6.2456, "mel_loss": 4.3123}}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare loss by loss."""
        before, now = (each.evidence.get("probe") for each in (saved, live))
        if failed := live.evidence.get("probe_failed"):
            return cannot_compare(f"the probe could not be measured: {failed}", severity=None)
        if failed := saved.evidence.get("probe_failed"):
            return cannot_compare(f"the probe could not be measured at the save: {failed}")
        if not before or not now:
            return cannot_compare(
                "the run has no probe; the losses of the first step will be compared"
            )
        if saved.evidence.get("probe_batch") != live.evidence.get("probe_batch"):
            return cannot_compare(
                "the probe's batch is not the one that was kept with the run", severity=None
            )
        bound = _bound(saved, live)
        shares = {name: _share(before[name], now.get(name)) for name in before}
        details = [
            Difference(
                name, before[name], now.get(name), f"{name}: {now.get(name)}, was {before[name]}"
            )
            for name, share in shares.items()
            if not share <= bound
        ]
        if details:
            worst = ", ".join(f"{100 * share:.1f}%" for share in shares.values())
            large = max(shares.values()) > 0.5
            return differs(
                str(details[0]),
                *details,
                headline=f"CRITICAL: Large loss variance ({worst})" if large else "",
                alarm="CRITICAL: Large loss variance detected!" if large else "",
            )
        most = max(shares.values(), default=0.0)
        return agrees(f"{len(shares)} losses, largest difference {most:.1e}")


def _bound(saved: StateSummary, live: StateSummary) -> float:
    same = saved.fact("environment") == live.fact("environment")
    same &= saved.fact("execution.precision") == live.fact("execution.precision")
    if same:
        return 0.0
    precisions = [each.fact("execution.precision", "fp32") for each in (saved, live)]
    return max(ELSEWHERE.get(each, 2e-3) for each in precisions)


def _share(before: float, now: float | None) -> float:
    if before == now:  # infinite, too
        return 0.0
    if now is None or now != now:  # noqa: PLR0124  # NaN
        return float("inf") if before == before else 0.0  # noqa: PLR0124
    return abs(now - before) / max(abs(before), 1e-12)
