"""The tokenizer is the run's.

Compares: the digest of the tokenizer's pieces, in order, with their scores; never its path.

Why: ids that moved by one look like text and train like noise: the loss jumps and never comes back.

Does not: look at text that was made into ids before; the data set's digest does.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import OnAccept, Severity, Stage
from unbroken.checks.facts import FactsCheck
from unbroken.checks.state_summary import StateSummary


class TokenizerUnchanged(FactsCheck):
    """The tokenizer is the run's."""

    id: ClassVar[str] = "tokenizer-unchanged"
    title: ClassVar[str] = "The tokenizer is the run's"
    area: ClassVar[str] = "data"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "Shifted token ids train as noise: the loss jumps and stays."
    cause: ClassVar[str] = "Another tokenizer file lies at --tokenizer, or it was trained anew."
    remedy: ClassVar[str] = (
        "Give the tokenizer of the run, or begin a new run from its weights with --init-from."
    )
    covers: ClassVar[tuple[str, ...]] = ("tokenizer",)
    AGREES: ClassVar = (
        (StateSummary(facts={"tokenizer": "6f1a"}), StateSummary(facts={"tokenizer": "6f1a"})),
    )
    DIFFERS: ClassVar = (
        (StateSummary(facts={"tokenizer": "6f1a"}), StateSummary(facts={"tokenizer": "90cc"})),
    )
