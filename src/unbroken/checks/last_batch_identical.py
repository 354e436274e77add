"""The batch that was trained last holds what it held.

Compares: a digest of what the loader gives for the last batch before the save, read once more, with that
of the batch that was trained.

Why: the names of samples are places in a data set. They stay the same when a file is edited, when the
data set stands in another order, and when samples are augmented otherwise.

Does not: read the other batches; a replay compares each one that it repeats.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    OnAccept,
    Severity,
    agrees,
    cannot_compare,
    differs,
)
from unbroken.checks.state_summary import StateSummary

CONTENT = "content"
"""Name of the digest among the evidence of a save."""
CONTENT_AT = "content_at"
"""Name of what is needed to read that batch again: its epoch, its place in it, its indices."""
CONTENT_AGAIN = "content_again"
"""Name of the digest of the same batch, read after the restore."""


class LastBatchIdentical(Check):
    """The batch that was trained last holds what it held."""

    id = "last-batch-identical"
    title = "The last batch, read again, holds what it held"
    area = "data"
    severity = Severity.CRITICAL
    on_accept = OnAccept.TAKE_NEW
    why = (
        "The samples have their names and other content: from here on it would be another training, "
        "and repeated steps would give other results."
    )
    cause = (
        "A file was edited, the data set stands in another order, or its samples draw from what is not "
        "set for them."
    )
    remedy = "Use the data of the run as they were, or begin a new run from its weights."
    AGREES = (
        (StateSummary(evidence={CONTENT: "ab"}), StateSummary(evidence={CONTENT_AGAIN: "ab"})),
    )
    DIFFERS = (
        (StateSummary(evidence={CONTENT: "ab"}), StateSummary(evidence={CONTENT_AGAIN: "ff"})),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the digests."""
        before, now = saved.evidence.get(CONTENT), live.evidence.get(CONTENT_AGAIN)
        if not before or not now:
            return cannot_compare("the batch can't be read again")
        if before != now:
            return differs(f"is {now}, was {before}")
        return agrees(f"batch {now}")
