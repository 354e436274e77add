"""The vocabulary has as many pieces as the run's.

Compares: the number of pieces of the tokenizer with the number the text tables were built for.

Why: the text tables have one row a piece. A table cut or grown to fit would put every later row
under another piece.

Does not: compare the pieces themselves; `tokenizer_unchanged` does.
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


class VocabularySizeUnchanged(Check):
    """The vocabulary has as many pieces as the run's."""

    id: ClassVar[str] = "vocabulary-size-unchanged"
    title: ClassVar[str] = "The vocabulary has as many pieces as the run's"
    area: ClassVar[str] = "data"
    severity: ClassVar[Severity] = Severity.CRITICAL
    on_accept: ClassVar[OnAccept] = OnAccept.NEVER
    stage: ClassVar[Stage] = Stage.BEFORE
    why: ClassVar[str] = "The text tables have one row a piece: the state fits only its vocabulary."
    cause: ClassVar[str] = "A tokenizer that was extended after the run began."
    remedy: ClassVar[str] = "Give the run's tokenizer, or begin a new run with --init-from."
    covers: ClassVar[tuple[str, ...]] = ("vocabulary",)
    AGREES: ClassVar = (
        (StateSummary(facts={"vocabulary": 24_000}), StateSummary(facts={"vocabulary": 24_000})),
        (StateSummary(), StateSummary()),
    )
    DIFFERS: ClassVar = (
        (StateSummary(facts={"vocabulary": 12_000}), StateSummary(facts={"vocabulary": 24_000})),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the two sizes."""
        before, now = saved.fact("vocabulary"), live.fact("vocabulary")
        if before is None and now is None:
            return agrees("none is declared")
        if before is None:
            return cannot_compare("the checkpoint does not say", severity=None)
        if before == now:
            return agrees(f"{now} pieces")
        return differs(
            f"{now} pieces, was {before}",
            headline=f"CRITICAL: Vocabulary size mismatch (checkpoint {before}, now {now})",
            alarm="CRITICAL: Vocabulary size mismatch detected!",
        )
