"""One fault trips several checks: which of them is the fault."""

from __future__ import annotations

import pytest

from support.findings import CHECKS, agreeing, finding, report, uncompared
from unbroken.checks.check import Severity
from unbroken.checks.root_cause import RULES, causes, likely_cause

IDS = CHECKS.keys()


def groups(*ids: str) -> list[tuple[str, list[str]]]:
    """Return who leads and who follows where these checks differ and all others agree."""
    rest = [agreeing(each) for each in sorted(IDS - set(ids))]
    found = causes(report(*(finding(each) for each in ids), *rest))
    return [(each.lead.id, [one.id for one in each.follows]) for each in found]


def test_where_all_agree_there_is_no_cause() -> None:
    """Nothing leads a report in which nothing differs."""
    assert likely_cause(report(*(agreeing(each) for each in IDS))) is None


@pytest.mark.parametrize("id_", sorted(IDS))
def test_a_finding_alone_is_its_own_cause(id_: str) -> None:
    """Each check can lead; it then names the cause that it declares."""
    assert [(id_, [])] == groups(id_)
    found = likely_cause(report(finding(id_)))
    assert found is not None
    assert found.lead.cause == found.because


@pytest.mark.parametrize(
    ("differing", "lead"),
    [
        (
            ["settings-unchanged", "schedule-unchanged", "learning-rate-continues"],
            "settings-unchanged",
        ),
        (["learning-rate-continues", "schedule-unchanged"], "schedule-unchanged"),
        (
            ["data-set-unchanged", "schedule-unchanged", "next-samples-identical"],
            "data-set-unchanged",
        ),
        (["next-samples-identical", "order-unchanged"], "order-unchanged"),
        (
            [
                "tokenizer-unchanged",
                "vocabulary-size-unchanged",
                "model-leaves-complete",
                "weights-identical",
                "probe-loss-reproduced",
            ],
            "vocabulary-size-unchanged",
        ),
        (["probe-loss-reproduced", "weights-identical"], "weights-identical"),
        (
            ["weights-identical", "optimizer-state-identical", "counters-agree"],
            "optimizer-state-identical",
        ),
        (["frozen-rows-unmoved", "frozen-rows-out-of-reach"], "frozen-rows-out-of-reach"),
        (["learning-rate-continues", "counters-agree"], "counters-agree"),
        (["probe-loss-reproduced", "execution-unchanged"], "execution-unchanged"),
        (["next-samples-identical", "batch-geometry-unchanged"], "batch-geometry-unchanged"),
        (
            ["optimizer-options-unchanged", "optimizer-state-identical"],
            "optimizer-options-unchanged",
        ),
        (["learning-rate-continues", "rate-is-the-schedules"], "rate-is-the-schedules"),
        (
            [
                "learning-rate-continues",
                "optimizer-state-identical",
                "rate-is-the-schedules",
            ],
            "optimizer-state-identical",
        ),
    ],
)
def test_one_fault_is_one_cause(differing: list[str], lead: str) -> None:
    """The finding nearest to the fault leads, and all others follow from it."""
    [(found, follows)] = groups(*differing)
    assert lead == found
    assert sorted(set(differing) - {lead}) == sorted(follows)


def test_two_faults_are_two_causes() -> None:
    """What one fault doesn't explain is not put under it."""
    found = groups("settings-unchanged", "learning-rate-continues", "weights-identical")
    assert [
        ("settings-unchanged", ["learning-rate-continues"]),
        ("weights-identical", []),
    ] == found


def test_a_critical_cause_comes_before_a_warning() -> None:
    """The report leads with what forbids to go on, wherever its rule stands."""
    warning = finding("batch-geometry-unchanged", severity=Severity.WARNING)
    found = causes(report(warning, finding("weights-identical")))
    assert ["weights-identical", "batch-geometry-unchanged"] == [each.lead.id for each in found]


def test_what_could_not_be_compared_is_no_cause() -> None:
    """A check that saw nothing explains nothing; a critical one is shown all the same."""
    found = causes(report(uncompared("settings-unchanged"), finding("learning-rate-continues")))
    assert [("learning-rate-continues", ()), ("settings-unchanged", ())] == sorted(
        (each.lead.id, each.follows) for each in found
    )


def test_the_rules_name_checks_that_exist() -> None:
    """No rule speaks of a check that was renamed, or explains a finding by itself."""
    for rule in RULES:
        assert {rule.lead, *rule.explains, *rule.beside} <= IDS
        assert rule.lead not in rule.explains
        assert len(set(rule.explains)) == len(rule.explains)
