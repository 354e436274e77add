"""The next samples are the saved ones.

Compares: the ids of the next 64 samples, in order, with those recorded at the save.

Why: no loss shows that samples are repeated or skipped.

Does not: compare what the samples contain; the data set's fingerprint does.
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


class NextSamplesIdentical(Check):
    """The next samples are the saved ones."""

    id = "next-samples-identical"
    title = "The next samples are the saved ones"
    area = "order and randomness"
    severity = Severity.CRITICAL
    on_accept = OnAccept.TAKE_NEW
    follows_from = ("batch-geometry-unchanged",)
    why = "Samples would silently be repeated or skipped."
    cause = "The samples, their order, the seed or the effective batch changed."
    remedy = "Give `StepBatches` the run's samples and seed."
    AGREES = (
        (
            StateSummary(evidence={"next_samples": ["a", "b"]}),
            StateSummary(evidence={"next_samples": ["a", "b"]}),
        ),
        (
            StateSummary(evidence={"next_samples": ["c", "d", "e"], "next_samples_after": 2}),
            StateSummary(evidence={"next_samples": ["a", "b", "c"]}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(evidence={"next_samples": ["a", "b"]}),
            StateSummary(evidence={"next_samples": ["b", "c"]}),
        ),
        (
            StateSummary(
                facts={"order": {"effective_batch": 1}}, evidence={"next_samples": ["a", "b"]}
            ),
            StateSummary(
                facts={"order": {"effective_batch": 2}}, evidence={"next_samples": ["b", "a"]}
            ),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the ids in order."""
        before, now = (each.evidence.get("next_samples") for each in (saved, live))
        if before == []:
            return agrees("the epoch had not begun")
        if before is None or now is None:
            return cannot_compare("the checkpoint recorded no samples", severity=None)
        # `unbroken repair position` goes back to the start of the step: the saved ids begin later then.
        now = now[saved.evidence.get("next_samples_after", 0) :]
        before = before[: len(now)] if "next_samples_after" in saved.evidence else before
        if not now and "next_samples_after" in saved.evidence:
            return cannot_compare("the step had more completed samples than ids are recorded")
        if before == now:
            return agrees(f"{len(now)} ids")
        sizes = [each.fact("order.effective_batch") for each in (saved, live)]
        if sizes[0] != sizes[1]:
            cut = f"step batches of {sizes[1]}, were {sizes[0]}"
            return differs(
                cut,
                headline=f"NOTE: the rest of the epoch makes {cut}: no sample is repeated, none is "
                "omitted",
                severity=Severity.WARNING,
            )
        place = next(
            (i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b),
            min(len(before), len(now)),
        )
        known = set(before)
        new = sum(each not in known for each in now)
        return differs(
            f"part at sample +{place}; {new} of {len(now)} were not among the next",
            f"is {now[place : place + 3]}, was {before[place : place + 3]}",
        )
