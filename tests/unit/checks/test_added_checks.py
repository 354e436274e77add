"""Checks of one's own: what a declaration must hold, and what a report makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from support.findings import finding, report
from unbroken.checks import (
    Advice,
    Check,
    CheckOutcome,
    CheckResult,
    Difference,
    FactCheck,
    OnAccept,
    Severity,
    StateSummary,
    agrees,
    differs,
    every_check,
    require_known,
    wrong_examples,
)
from unbroken.checks.last_batch_identical import LastBatchIdentical
from unbroken.checks.report import examine
from unbroken.checks.root_cause import causes
from unbroken.errors import SettingsInvalid


class NoiseStaysNear(Check):
    """The noise may be tuned, not replaced."""

    id = "noise-stays-near"
    on_accept = OnAccept.TAKE_NEW
    covers = ("noise",)
    explains = ("probe-loss-reproduced",)
    remedy = "Give the run's noise."
    AGREES = ((StateSummary(facts={"noise": 1.0}), StateSummary(facts={"noise": 1.1})),)
    DIFFERS = ((StateSummary(facts={"noise": 1.0}), StateSummary(facts={"noise": 3.0})),)

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        before, now = saved.fact("noise"), live.fact("noise")
        if abs(now - before) <= 0.2 * before:
            return agrees(f"{now}")
        return differs(f"{now}, was {before}", Difference("noise", before, now))


class Raises(Check):
    id = "raises"

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        raise ValueError(f"no such column: {len(saved.facts)} and {len(live.facts)}")


def declared(**attributes: Any) -> Check:
    """Return a check that declares something else."""
    made: Check = type("Declared", (NoiseStaysNear,), attributes)()
    return made


def test_the_added_come_first_in_their_stage_and_answer_for_their_facts() -> None:
    """A fact that an added check compares is no longer any other fact."""
    made = every_check(added=[NoiseStaysNear()])
    ids = [each.id for each in made]
    assert ids.index("noise-stays-near") == ids.index("weights-identical") - 1
    (rest,) = (each for each in made if each.id == "other-facts-unchanged")
    saved, live = NoiseStaysNear.DIFFERS[0]
    assert "agrees" == rest.compare(saved, live).outcome


def test_a_fact_that_is_declared_comes_before_the_library_s() -> None:
    """What a run is made of is compared before anything is restored."""
    check = FactCheck(id="noise-unchanged", covers=("noise",), example=(1.0, 2.0))
    assert "noise-unchanged" == every_check(added=[check])[0].id
    assert [] == wrong_examples(check)


def test_a_declared_fact_may_be_free_to_change() -> None:
    """`may_change` holds for added checks as well; the declaration itself stays as it is."""
    check = FactCheck(id="noise-unchanged", covers=("noise",), example=(1.0, 2.0))
    (made, *_) = every_check(["noise"], added=[check])
    assert "agrees" == made.compare(*check.DIFFERS[0]).outcome
    assert "differs" == check.compare(*check.DIFFERS[0]).outcome


def test_what_it_explains_stands_below_it() -> None:
    """An added check leads what it says it brings about, before any rule of the library's."""
    (noise,) = examine([NoiseStaysNear()], *NoiseStaysNear.DIFFERS[0])
    found = causes(report(finding("weights-identical"), finding("probe-loss-reproduced"), noise))
    assert ("noise-stays-near", ["probe-loss-reproduced"]) in [
        (each.lead.id, [one.id for one in each.follows]) for each in found
    ]


def test_a_check_that_explains_itself_leads_nothing() -> None:
    """A slip in `explains` ends no resume with a bug."""
    twice = ("weights-identical", "noise-stays-near", "weights-identical")
    (noise,) = examine([declared(explains=twice)], *NoiseStaysNear.DIFFERS[0])
    (found,) = causes(report(noise, finding("weights-identical")))
    assert ["weights-identical"] == [each.id for each in found.follows]


def test_an_untitled_check_is_called_by_its_id() -> None:
    """An id and `compare` are enough for a report."""
    (found,) = examine([Raises()], StateSummary(), StateSummary())
    assert "Raises" == found.title


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ([NoiseStaysNear(), NoiseStaysNear()], "two checks with the id 'noise-stays-near'"),
        ([declared(id="weights-identical")], "two checks with the id 'weights-identical'"),
        ([declared(id="other-facts-unchanged")], "two checks with the id 'other-facts-unchanged'"),
        ([NoiseStaysNear], "is a class, not an instance"),
        ([object()], "is no unbroken.checks.Check"),
        ([declared(id="Noise near")], "has the id 'Noise near'"),
        ([declared(severity="grave")], "has the severity 'grave'"),
        ([declared(severity="critical")], "has the severity 'critical', which is no Severity"),
        ([declared(on_accept="take new")], "has the on_accept 'take new'"),
        ([declared(stage=None)], "has the stage None"),
        (NoiseStaysNear(), "which is no list"),
        (None, "checks= was given None"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(added: Any, says: str) -> None:
    """A wrong check is met when the run is declared, never in the middle of a resume."""
    with pytest.raises(SettingsInvalid) as refused:
        every_check(added=added)
    assert says in refused.value.what


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"may_change": "noise"}, "may_change= was given 'noise', which is no list"),
        ({"advice": {"weights-identicl": Advice()}}, "Did you mean weights-identical?"),
        ({"advice": {"weights-identical": "Look."}}, "'Look.' for 'weights-identical'"),
    ],
)
def test_what_would_act_on_nothing_is_refused(given: Any, says: str) -> None:
    """A text in the place of a list, and advice that would never be shown."""
    with pytest.raises(SettingsInvalid) as refused:
        every_check(**given)
    assert says in refused.value.what


def test_a_text_is_no_list_of_ids() -> None:
    """It would be taken letter by letter."""
    with pytest.raises(SettingsInvalid, match="accept= was given 'weights-identical'") as refused:
        require_known("weights-identical", every_check())
    assert "accept=[" in refused.value.remedy


@pytest.mark.parametrize("raised", [SystemExit(0), SystemExit("no noise")])
def test_a_check_does_not_end_the_program(raised: BaseException) -> None:
    """One that exits is a finding too, with exit code 0 as well."""

    def leave(*_: object) -> CheckResult:
        raise raised

    (found,) = examine([declared(compare=leave)], StateSummary(), StateSummary())
    assert found.is_critical
    assert "SystemExit" in found.numbers


def test_its_id_can_be_accepted() -> None:
    """What it finds is named like any other."""
    require_known(["noise-stays-near"], every_check(added=[NoiseStaysNear()]))


@pytest.mark.parametrize("saved", [StateSummary(), StateSummary(is_ours=False)])
@pytest.mark.parametrize("severity", Severity)
def test_a_check_that_raises_is_a_finding(saved: StateSummary, severity: Severity) -> None:
    """It could not compare, as gravely as it declares, and names itself and what it raised."""
    check = Raises()
    check.severity = severity
    (found,) = examine([check], saved, StateSummary())
    assert ("cannot compare", severity) == (found.outcome, found.severity)
    said = "the check itself failed: raises: ValueError: no such column: 0 and 0, in compare, line "
    assert found.numbers.startswith(said)


@pytest.mark.parametrize("result", [None, True, "differs"], ids=lambda each: type(each).__name__)
def test_a_check_that_returns_no_result_is_a_finding(result: object) -> None:
    """What is no outcome never passes for agreement."""
    check = declared(compare=lambda *_: result)
    (found,) = examine([check], StateSummary(), StateSummary())
    assert found.is_critical
    assert f"compare returned {result!r}" in found.numbers


def test_a_result_takes_words_and_no_others() -> None:
    """An outcome written as text is that outcome; a misspelt one is an error of the check."""
    result = CheckResult(outcome="differs", numbers=3, severity="warning")  # type: ignore[arg-type]
    assert (differs("3").outcome, "3", Severity.WARNING) == (
        result.outcome,
        result.numbers,
        result.severity,
    )
    with pytest.raises(ValueError, match="difers"):
        CheckResult(outcome="difers", numbers="")  # type: ignore[arg-type]


def test_examples_that_come_out_otherwise_are_told() -> None:
    """One line for each, with what came out."""
    pair = NoiseStaysNear.DIFFERS[0]
    wrong = declared(AGREES=(pair,), DIFFERS=(pair,))
    assert [
        "noise-stays-near: AGREES[0] has the outcome 'differs': 3.0, was 1.0"
    ] == wrong_examples(wrong)


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (Difference("a.b", 1, "x"), "a.b is 'x', was 1"),
        (Difference("a.b", 1), "a.b is absent, was 1"),
        (Difference("m.base"), "m.base"),
        (Difference("a", 1, 2, "a: grew"), "a: grew"),
    ],
)
def test_a_difference_is_data_and_reads_as_a_line(one: Difference, line: str) -> None:
    """The line follows from the fields, or is given."""
    assert line == str(one)


def test_the_check_of_a_loader_is_what_it_says() -> None:
    """It calls equal what is equal, and finds another content; what can't be read again agrees with nothing."""
    check = LastBatchIdentical()
    assert [] == wrong_examples(check)
    assert CheckOutcome.CANNOT_COMPARE == check.compare(StateSummary(), StateSummary()).outcome
