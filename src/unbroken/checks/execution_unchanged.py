"""Threads, determinism and precision of the arithmetic are as they were.

Compares: system, processor, Python, number of computing threads, determinism flag, matrix
precision, computing precision.

Why: each of them changes the last bits of a sum.

Does not: compare speed.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.observation import Observation


class ExecutionUnchanged(FactsCheck):
    """Threads, precision and determinism are as they were."""

    id: ClassVar[str] = "execution-unchanged"
    title: ClassVar[str] = "Threads, precision and determinism are as they were"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.KEEP_SAVED
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "The order of additions changes, and with it the last bits of every step."
    cause: ClassVar[str] = (
        "The run moved to another machine, or --threads, --precision or --amp changed."
    )
    remedy: ClassVar[str] = (
        "Nothing need be done; give the saved --threads for bit-identical steps."
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
            Observation(facts={"environment": {"threads": 2}}),
            Observation(facts={"environment": {"threads": 2}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(facts={"environment": {"threads": 2}}),
            Observation(facts={"environment": {"threads": 1}}),
        ),
    )
