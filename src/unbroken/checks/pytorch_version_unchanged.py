"""PyTorch is the version that saved.

Compares: the version of PyTorch and of CUDA.

Why: another version may round differently: the repeated steps are then equal to rounding only.

Does not: promise that two builds of one version compute alike; the replay measures it.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class PytorchVersionUnchanged(FactsCheck):
    """PyTorch is the version that saved."""

    id: ClassVar[str] = "pytorch-version-unchanged"
    title: ClassVar[str] = "PyTorch is the version that saved"
    area: ClassVar[str] = "environment"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.KEEP_SAVED
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "Another version may round differently; the first steps show by how much."
    cause: ClassVar[str] = "The environment was updated, or is another machine's."
    remedy: ClassVar[str] = (
        "Nothing need be done; install the saved version for bit-identical steps."
    )
    covers: ClassVar[tuple[str, ...]] = ("environment.torch", "environment.cuda")
    AGREES: ClassVar = (
        (
            StateSummary(facts={"environment": {"torch": "2.13.0"}}),
            StateSummary(facts={"environment": {"torch": "2.13.0"}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            StateSummary(facts={"environment": {"torch": "2.13.0"}}),
            StateSummary(facts={"environment": {"torch": "2.12.1"}}),
        ),
    )
