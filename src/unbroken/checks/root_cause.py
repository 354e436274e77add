"""Separates root causes from their symptoms, by a table of rules in order of priority.

One fault often affects several checks: other settings give another schedule, and that another rate. A
rule names the leading finding, the findings it requires, and those it explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from unbroken.checks.check import CheckOutcome
from unbroken.checks.report import Finding, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault that affects several checks."""

    lead: str
    """Id of the finding that is closest to the fault."""
    explains: tuple[str, ...]
    """Ids of the findings that it explains."""
    beside: tuple[str, ...] = ()
    """Ids that must also differ for this rule to apply."""
    because: str = ""
    """The cause if this rule applies; empty for the check's own."""


class Cause(NamedTuple):
    """A leading finding, and the findings that follow from it."""

    lead: Finding
    follows: tuple[Finding, ...]
    because: str
    """The likely cause, as one sentence."""

    @property
    def is_critical(self) -> bool:
        """Whether one of the findings forbids to continue."""
        return any(each.is_critical for each in (self.lead, *self.follows))


RATE: Final = "learning-rate-continues"
SAMPLES: Final = "next-samples-identical"
PROBE: Final = "probe-loss-reproduced"
WEIGHTS: Final = "weights-identical"
OPTIMIZER_STATE: Final = "optimizer-state-identical"
OTHER_STATE: Final = "other-state-identical"
HELD_RATE: Final = "rate-is-the-schedules"


class Consequences:
    """Ids of checks that differ because of another one; for `explains` of a check of your own."""

    STRUCTURE: Final = (
        "model-leaves-complete",
        "ties-unchanged",
        "trainable-parameters-unchanged",
        "optimizer-alignment-by-name",
        "optimizer-covers-parameters",
    )
    """The model is built differently."""
    LOADED: Final = (WEIGHTS, OPTIMIZER_STATE, "frozen-rows-unmoved", PROBE)
    """The state does not fit the objects that it was loaded into."""


RULES: Final[tuple[Rule, ...]] = (
    # What the run is made of.
    Rule(
        lead="data-set-unchanged",
        explains=("schedule-unchanged", RATE, SAMPLES),
        because="The samples or their content changed, and with them the order and the number of "
        "steps that the schedule was made for.",
    ),
    Rule(
        lead="order-unchanged",
        explains=("settings-unchanged", "random-streams-continue", SAMPLES),
    ),
    Rule(
        lead="settings-unchanged",
        explains=(
            "batch-geometry-unchanged",
            "execution-unchanged",
            "parts-complete",
            "trainable-parameters-unchanged",
            "optimizer-options-unchanged",
            "schedule-unchanged",
            RATE,
            SAMPLES,
        ),
    ),
    Rule(
        lead="batch-geometry-unchanged",
        explains=("schedule-unchanged", RATE, SAMPLES),
    ),
    # What it is built of.
    Rule(
        lead="parts-complete",
        explains=(
            "optimizer-alignment-by-name",
            "optimizer-covers-parameters",
            "schedule-unchanged",
            RATE,
            OTHER_STATE,
        ),
    ),
    Rule(
        lead="ties-unchanged",
        explains=(
            "model-leaves-complete",
            "trainable-parameters-unchanged",
            "optimizer-alignment-by-name",
            "optimizer-covers-parameters",
            *Consequences.LOADED,
        ),
    ),
    Rule(
        lead="model-leaves-complete",
        explains=(
            "trainable-parameters-unchanged",
            "optimizer-alignment-by-name",
            "optimizer-covers-parameters",
            *Consequences.LOADED,
        ),
    ),
    Rule(
        lead="trainable-parameters-unchanged",
        explains=(
            "optimizer-alignment-by-name",
            "optimizer-covers-parameters",
            "frozen-rows-out-of-reach",
            "frozen-rows-unmoved",
        ),
    ),
    Rule(
        lead="optimizer-alignment-by-name",
        explains=(
            "optimizer-covers-parameters",
            "optimizer-options-unchanged",
            OPTIMIZER_STATE,
            RATE,
        ),
    ),
    Rule(lead="optimizer-covers-parameters", explains=(OPTIMIZER_STATE, "counters-agree")),
    Rule(lead="schedule-unchanged", explains=(RATE, OTHER_STATE)),
    # What was done to it after the restore.
    Rule(
        lead=OPTIMIZER_STATE,
        beside=(WEIGHTS, "counters-agree"),
        explains=(WEIGHTS, "counters-agree", PROBE, "frozen-rows-unmoved", "values-are-finite"),
        because="An update was made after the restore: the weights, the moments and the count of "
        "updates moved together.",
    ),
    Rule(
        lead="frozen-rows-out-of-reach",
        explains=("frozen-rows-unmoved", WEIGHTS),
        because="The frozen rows are a part of a trained table; a mask on their gradient stops "
        "neither weight decay nor momentum.",
    ),
    Rule(
        lead="optimizer-options-unchanged",
        explains=(OPTIMIZER_STATE,),
        because="Options of the optimiser were set after the restore: it would step with others than "
        "the saved ones.",
    ),
    Rule(
        lead=WEIGHTS,
        explains=(PROBE, "frozen-rows-unmoved", "values-are-finite"),
    ),
    Rule(lead="values-are-finite", explains=(PROBE, OPTIMIZER_STATE)),
    Rule(
        lead="counters-agree",
        beside=(RATE,),
        explains=(RATE, OTHER_STATE),
        because="A schedule was stepped another number of times than the run made updates.",
    ),
    Rule(
        lead="counters-agree",
        explains=(OPTIMIZER_STATE, OTHER_STATE, "accumulation-restored", SAMPLES),
    ),
    Rule(
        lead=OTHER_STATE,
        beside=(RATE,),
        explains=(RATE, "counters-agree"),
        because="The schedule is in another state than the saved one: it was rebuilt, loaded "
        "from elsewhere, or stepped after the restore.",
    ),
    Rule(
        lead=OPTIMIZER_STATE,
        beside=(HELD_RATE, RATE),
        explains=(RATE, HELD_RATE, "counters-agree"),
        because="The optimiser that would step is not the restored one: it was rebuilt, "
        "or loaded from elsewhere.",
    ),
    Rule(lead=HELD_RATE, explains=(RATE,)),
    # Where it runs.
    Rule(
        lead="execution-unchanged",
        beside=(PROBE,),
        explains=(PROBE,),
        because="Another precision or other determinism flags change the result of the same weights "
        "by more than rounding.",
    ),
    Rule(
        lead="pytorch-version-unchanged",
        beside=(PROBE,),
        explains=(PROBE,),
        because="Another version of PyTorch computes the same weights otherwise, by more than "
        "rounding.",
    ),
    Rule(
        lead="gpus-unchanged",
        beside=(PROBE,),
        explains=(PROBE,),
        because="Other devices change the result of the same weights by more than rounding.",
    ),
)


def causes(report: Report) -> tuple[Cause, ...]:
    """Group differing, and critical incomparable, findings by their most likely cause.

    Groups with a critical finding come first, in the order of the rules; each finding is in one
    group. The `explains` of checks takes precedence over the library's rules.
    """
    declared = [Rule(lead=each.id, explains=each.explains) for each in report.findings]
    left = {
        each.id: each
        for each in report.findings
        if each.outcome is CheckOutcome.DIFFERS or each.is_critical
    }
    found: list[Cause] = []
    for rule in (*declared, *RULES):
        # Only a finding that differs can be a cause.
        differing = {id_ for id_, each in left.items() if each.outcome is CheckOutcome.DIFFERS}
        wanted = dict.fromkeys(rule.explains)
        explained = [id_ for id_ in wanted if id_ in left and id_ != rule.lead]
        if {rule.lead, *rule.beside} <= differing and explained:
            lead = left.pop(rule.lead)
            follows = tuple(left.pop(id_) for id_ in explained)
            found.append(Cause(lead, follows, rule.because or lead.cause))
    found += [Cause(each, (), each.cause) for each in left.values()]
    return tuple(sorted(found, key=lambda each: not each.is_critical))


def likely_cause(report: Report) -> Cause | None:
    """Return the most likely cause, with what follows from it; None if all agree."""
    return next(iter(causes(report)), None)
