"""The training data are the run's.

Compares: the fingerprint over ids, lengths and array digests, the number of samples, what was
dropped; never paths.

Why: other data under the same position means samples used twice or never; other content of the same
samples, another training.

Does not: compare validation data; they may change, and the best score is then forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from unbroken.checks.check import CheckOutcome, CheckResult, OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary

OTHER_SAMPLES: Final = "The position counts samples of the saved data set: with another one some are used twice, some never."
OTHER_CONTENT: Final = (
    "The samples and their order are the run's, but the content of some is another: from here on it "
    "would be another training, and the steps that are repeated would come out otherwise."
)
ORDER: Final = ("order.samples", "order.ids", "order.lengths")


class DataSetUnchanged(FactsCheck):
    """The training data are the run's."""

    id: ClassVar[str] = "data-set-unchanged"
    title: ClassVar[str] = "The training data are the run's"
    area: ClassVar[str] = "data"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = OTHER_SAMPLES
    cause: ClassVar[str] = "A manifest or a feature file was edited, or another manifest was given."
    remedy: ClassVar[str] = (
        "Give the manifests and feature files of the run, or begin a new run from its weights with "
        "--init-from."
    )
    covers: ClassVar[tuple[str, ...]] = (
        "data.train",
        "data.dropped",
        "order.samples",
        "order.ids",
        "order.lengths",
    )
    AGREES: ClassVar = (
        (
            StateSummary(facts={"data": {"train": "ab12"}}),
            StateSummary(facts={"data": {"train": "ab12"}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            StateSummary(facts={"data": {"train": "ab12"}}),
            StateSummary(facts={"data": {"train": "ff00"}}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare every fact; other content of the same samples is told apart from other samples."""
        verdict = super().compare(saved, live)
        is_told = set(ORDER[:2]) <= saved.facts_below(ORDER).keys()
        is_content = all(each.path == "data.train" for each in verdict.differences)
        if verdict.outcome is CheckOutcome.DIFFERS and is_told and is_content:
            return replace(verdict, why=OTHER_CONTENT)
        return verdict
