"""What follows from findings: go on, ask, refuse."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.checks.catalogue import every_check, require_known
from unbroken.checks.decision import decide
from unbroken.checks.report import Report, examine
from unbroken.checks.state_summary import StateSummary
from unbroken.errors import SettingsInvalid
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS

EVERY = every_check(added=TRAINER_CHECKS)

SAME = StateSummary(
    facts={"order": {"effective_batch": 8, "seed": 1}, "settings": {"lr": 1.0}, "vocabulary": 5},
    kinds={"s": "schedule"},
    values={"s.total": 100},
    evidence={"rates": {"o": 1.0}, "next_samples": ["a"], "seed_here": 1, "schemes": {}},
)


def report(live: StateSummary) -> Report:
    found = examine(EVERY, SAME, live)
    return Report(findings=tuple(each for each in found if each.id in ASKED), seconds=0.0)


ASKED = {
    "settings-unchanged",
    "schedule-unchanged",
    "learning-rate-continues",
    "batch-geometry-unchanged",
    "next-samples-identical",
    "vocabulary-size-unchanged",
    "order-unchanged",
}


def other(**changes: object) -> StateSummary:
    fields = {
        name: getattr(SAME, name) for name in ("facts", "kinds", "values", "evidence", "position")
    }
    return StateSummary(**{**fields, **changes})


def ids(findings: tuple[Any, ...]) -> list[str]:
    return [each.id for each in findings]


def test_agreement_goes_on() -> None:
    """Nothing differs: nothing is taken, kept or open."""
    decision = decide(report(SAME))
    assert decision.goes_on
    assert ((), (), ()) == (decision.use_new, decision.use_saved, decision.blocking)


def test_a_setting_is_open_until_it_is_accepted_with_what_follows_from_it() -> None:
    """A new rate changes the schedule and its rates: accepted together, kept together."""
    live = other(
        facts={**SAME.facts, "settings": {"lr": 2.0}},
        values={"s.total": 200},
        evidence={**SAME.evidence, "rates": {"o": 2.0}},
    )
    refused = decide(report(live))
    expected = ["settings-unchanged", "schedule-unchanged", "learning-rate-continues"]
    assert expected == ids(refused.blocking)
    assert not refused.can_be_confirmed
    accepted = decide(report(live), {"settings-unchanged"})
    assert accepted.goes_on
    assert expected == ids(accepted.use_new)


def test_a_setting_alone_can_be_confirmed_and_keeps_the_saved_value() -> None:
    """A person may let it go on: the saved value acts."""
    decision = decide(report(other(facts={**SAME.facts, "settings": {"lr": 2.0}})))
    assert not decision.goes_on
    assert decision.can_be_confirmed


def test_what_is_never_acceptable_stays_open() -> None:
    """Accepting another vocabulary by id changes nothing."""
    live = other(facts={**SAME.facts, "vocabulary": 6})
    decision = decide(report(live), {"vocabulary-size-unchanged"})
    assert ["vocabulary-size-unchanged"] == ids(decision.blocking)
    assert not decision.can_be_confirmed


def test_another_effective_batch_goes_on_with_the_new_one() -> None:
    """It is a warning; the samples that follow from it are no finding of their own."""
    live = other(
        facts={**SAME.facts, "order": {"effective_batch": 64, "seed": 1}},
        evidence={**SAME.evidence, "next_samples": ["b"]},
    )
    decision = decide(report(live))
    assert decision.goes_on
    assert ["batch-geometry-unchanged", "next-samples-identical"] == ids(decision.use_new)


def test_a_slip_in_an_accepted_id_is_told() -> None:
    """An id that names no check is refused, with the one that was meant."""
    with pytest.raises(SettingsInvalid, match="Did you mean weights-identical"):
        require_known(["weights-identicl"], EVERY)
    require_known(["weights-identical"], EVERY)


def test_a_check_that_crashes_is_a_finding() -> None:
    """Nonsense in the evidence ends no resume with a bug; it can't be compared."""
    found = examine(every_check(), SAME, other(evidence={"rates": 3, "next_samples": 7}))
    crashed = [each for each in found if "the check itself failed" in each.numbers]
    assert crashed
    assert all(each.is_critical for each in crashed)
