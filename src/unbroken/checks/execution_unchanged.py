"""Threads, determinism and precision of the arithmetic are as they were.

Compares: system, processor, Python, number of computing threads, determinism flag, matrix
precision, computing precision.

Why: most of them change the last bits of a sum; another precision rounds every step otherwise.

Does not: compare speed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from unbroken.checks.check import CheckOutcome, CheckResult, OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary

ORDER: Final = "The order of additions changes, and with it the last bits of every step."
# Significant bits, the hidden one among them: IEEE 754 binary32 and binary16, bfloat16, TF32.
ROUNDING: Final = (
    "Another precision rounds every product of every step otherwise: bf16 keeps 8 significant bits, "
    "fp16 and TF32 11, fp32 24. That is far more than last bits, and nothing after it can be "
    "bit-identical."
)
SIGNIFICANT_BITS: Final = {"fp32": 24, "fp16": 11, "bf16": 8}
PRECISIONS: Final = ("environment.matmul_precision", "execution.precision")


class ExecutionUnchanged(FactsCheck):
    """Threads, precision and determinism are as they were."""

    id: ClassVar[str] = "execution-unchanged"
    title: ClassVar[str] = "Threads, precision and determinism are as they were"
    area: ClassVar[str] = "environment"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.KEEP_SAVED
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = f"{ORDER} {ROUNDING}"
    cause: ClassVar[str] = (
        "The run moved to another machine, or --threads, --precision or --amp changed."
    )
    remedy: ClassVar[str] = (
        "Give the saved --precision; of threads and machine nothing need be done (the saved --threads "
        "make the steps bit-identical)."
    )
    covers: ClassVar[tuple[str, ...]] = (
        "environment.platform",
        "environment.processor",
        "environment.python",
        "environment.threads",
        "environment.deterministic",
        "environment.matmul_precision",
        "environment.kernels",
        "execution.precision",
    )
    AGREES: ClassVar = (
        (
            StateSummary(facts={"environment": {"threads": 2}}),
            StateSummary(facts={"environment": {"threads": 2}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            StateSummary(facts={"environment": {"threads": 2}}),
            StateSummary(facts={"environment": {"threads": 1}}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every fact; what rounds every step otherwise is told apart from last bits."""
        verdict = super().compare(saved, live)
        if verdict.outcome is not CheckOutcome.DIFFERS:
            return verdict
        of_precision = [each.path in PRECISIONS for each in verdict.differences]
        told = [ROUNDING] * any(of_precision) + [ORDER] * (not all(of_precision))
        return replace(verdict, why=" ".join(told), headline=_headline(saved, live))


def _headline(saved: StateSummary, live: StateSummary) -> str:
    """Return what another computing precision means; empty where it is the same, or not known."""
    name = "execution.precision"
    before, now = (each.facts_below([name]).get(name) for each in (saved, live))
    if before == now or before not in SIGNIFICANT_BITS or now not in SIGNIFICANT_BITS:
        return ""
    return (
        f"WARNING: Precision changed! Checkpoint: {before}, Current: {now}: every product of every "
        f"step is rounded to {SIGNIFICANT_BITS[now]} significant bits, was {SIGNIFICANT_BITS[before]}"
    )
