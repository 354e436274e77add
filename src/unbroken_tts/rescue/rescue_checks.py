"""The checks of a rescue: what an old file says of its run, against what this start was given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from unbroken.checks import (
    Check,
    CheckResult,
    Decision,
    FactCheck,
    OnAccept,
    Report,
    StateSummary,
    decide,
    examine,
)


def _as_rates(result: CheckResult, saved: StateSummary, live: StateSummary) -> CheckResult:
    """Return the result in the words that users of the earlier trainer know."""
    before, now = saved.fact("earlier.rate"), live.fact("earlier.rate")
    share = f" ({abs(now - before) / before:.1%} difference)" if before else ""
    return replace(
        result,
        numbers=f"the file has {before:.4e}, these settings give {now:.4e}",
        headline=f"CRITICAL: LR mismatch{share}",
        alarm="CRITICAL: LR mismatch detected!",
    )


# The file has the rate of the next update, but neither warm-up nor length of the run.
EARLIER_SCHEDULE_AGREES: Final = FactCheck(
    id="earlier-schedule-agrees",
    title="The learning rate of the old file is on the curve of the settings",
    area="schedule and counters",
    covers=("earlier.rate",),
    example=(7.3e-4, 1.9e-3),
    on_accept=OnAccept.TAKE_NEW,
    keeps_saved=True,
    compares="the learning rate in a file of the earlier trainer with the rate that --epochs or "
    "--max-steps and --warmup-steps give at its step, on the earlier trainer's curve.",
    why="The earlier trainer stored neither warm-up nor length, so with other settings the rate jumps.",
    cause="--epochs, --max-steps, --warmup-steps or the data differ from the old run's.",
    remedy="Give the old run's --epochs (or --max-steps) and --warmup-steps, or let the rate of the "
    "settings act with --accept earlier-schedule-agrees.",
    does_not="see a jump before the file was written; `unbroken-tts rescue --dry-run` lists those.",
    refine=_as_rates,
)

# Batches per epoch, position and length of the old run follow from the number of samples.
EARLIER_DATA_AGREES: Final = FactCheck(
    id="earlier-data-agrees",
    title="The manifests have as many samples as the old run's",
    area="data",
    covers=("earlier.samples",),
    example=(114, 154),
    on_accept=OnAccept.TAKE_NEW,
    compares="the number of samples in the training manifests with the number that a file of the "
    "earlier trainer recorded.",
    why="With other data the place within the epoch means other samples.",
    cause="The manifest grew or shrank, or another one was named.",
    remedy="Give the old run's manifests, or go on with these: --accept earlier-data-agrees.",
    does_not="compare their content; the earlier trainer recorded nothing of it.",
)

RESCUE_CHECKS: Final[tuple[Check, ...]] = (EARLIER_SCHEDULE_AGREES, EARLIER_DATA_AGREES)
"""In the order of the report."""

RESCUE_IDS: Final = frozenset(each.id for each in RESCUE_CHECKS)
"""What can be accepted at a rescue; a resume knows none of them."""


def compare_with_settings(
    recorded: dict[str, object],
    given: dict[str, object],
    accepted: tuple[str, ...],
    *,
    has_curve: bool,
) -> tuple[Report, Decision]:
    """Compare what an old file recorded with what this start was given.

    Args:
        recorded: `rate` and `samples` of the file; what it doesn't say is left out of both.
        given: The same by the settings and the manifests.
        accepted: Ids that were accepted.
        has_curve: Whether a curve through the recorded rate is known, which a person may confirm.
    """
    saved, live = (StateSummary(facts={"earlier": each}) for each in (recorded, given))
    report = Report(findings=tuple(examine(RESCUE_CHECKS, saved, live)), seconds=0.0)
    if not has_curve:
        findings = (
            replace(each, keeps_saved=False) if each.id == EARLIER_SCHEDULE_AGREES.id else each
            for each in report.findings
        )
        report = replace(report, findings=tuple(findings))
    return report, decide(report, accepted)
