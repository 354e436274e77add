"""The training data are the run's.

Compares: the fingerprint over ids, lengths and array digests, the number of samples, what was
dropped; never paths.

Why: other data under the same position means samples used twice or never.

Does not: compare validation data; they may change, and the best score is then forgotten.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.observation import Observation


class DataSetUnchanged(FactsCheck):
    """The training data are the run's."""

    id: ClassVar[str] = "data-set-unchanged"
    title: ClassVar[str] = "The training data are the run's"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = (
        "The position counts samples of the saved data set: with another one some are used twice, some never."
    )
    cause: ClassVar[str] = "A manifest or a feature file was edited, or another manifest was given."
    remedy: ClassVar[str] = (
        "Give the manifests of the run, or begin a new run from its weights with --init-from."
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
            Observation(facts={"data": {"train": "ab12"}}),
            Observation(facts={"data": {"train": "ab12"}}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(facts={"data": {"train": "ab12"}}),
            Observation(facts={"data": {"train": "ff00"}}),
        ),
    )
