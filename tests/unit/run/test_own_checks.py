"""`Run(checks=[...])`: a resume makes one's own checks beside the library's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn, optim

import unbroken
from unbroken.checks import Advice, Check, CheckResult, OnAccept, StateSummary, agrees, differs


class NoiseStaysNear(Check):
    """The noise may be tuned, not replaced."""

    id = "noise-stays-near"
    on_accept = OnAccept.TAKE_NEW
    covers = ("noise",)
    remedy = "Give the run's noise."

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        before, now = saved.fact("noise"), live.fact("noise")
        near = abs(now - before) <= 0.2 * before
        return agrees(f"{now}") if near else differs(f"{now}, was {before}")


class Raises(Check):
    id = "raises"

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        return agrees(f"{saved.evidence['nowhere']} and {live.evidence}")


def run_of(directory: Path, facts: dict[str, Any], **given: Any) -> unbroken.Run:
    """Return a run with checks of its own, before its resume."""
    model = nn.Linear(1, 1)
    order = unbroken.StepBatches(["a", "b"], None, 2, seed=1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return unbroken.Run(
        directory, order=order, model=model, optimizer=optimizer, facts=facts, **given
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run saved at its start."""
    run = run_of(tmp_path, {"noise": 1.0, "tokenizer": "aa"})
    run.resume()
    run.save()
    run.close()
    return tmp_path


@pytest.mark.parametrize("accept", [[], ["noise-stays-near"]])
def test_a_difference_of_an_added_check_decides(saved: Path, accept: list[str]) -> None:
    """Refused with its own remedy, or gone on with by its id."""
    run = run_of(saved, {"noise": 2.0, "tokenizer": "aa"}, checks=[NoiseStaysNear()])
    if accept:
        report = run.resume(accept=accept)
        assert accept == [each.id for each in report.decision.use_new]
        run.close()
        return
    with pytest.raises(unbroken.ResumeRefused, match=r"2\.0, was 1\.0") as refused:
        run.resume()
    assert "Give the run's noise." == refused.value.remedy


def test_it_may_agree_where_the_library_would_differ(saved: Path) -> None:
    """It alone answers for the facts it covers."""
    facts = {"noise": 1.1, "tokenizer": "aa"}
    with pytest.raises(unbroken.ResumeRefused, match=r"noise is 1\.1"):
        run_of(saved, facts).resume()
    run = run_of(saved, facts, checks=[NoiseStaysNear()])
    assert "agrees" == run.resume().checks.of("noise-stays-near").outcome
    run.close()


def test_a_check_that_raises_refuses_and_does_not_crash(saved: Path) -> None:
    """A finding that could not compare, with the name of what was raised."""
    run = run_of(saved, {"noise": 1.0, "tokenizer": "aa"}, checks=[Raises()])
    with pytest.raises(unbroken.ResumeRefused, match="KeyError: 'nowhere'") as refused:
        run.resume()
    assert ["raises"] == [each.id for each in refused.value.decision.blocking]


def test_an_id_that_exists_is_refused_when_the_run_is_declared(tmp_path: Path) -> None:
    """Before anything of the directory is touched."""
    check = NoiseStaysNear()
    with pytest.raises(unbroken.SettingsInvalid, match="two checks with the id"):
        run_of(tmp_path, {}, checks=[check, check])
    assert [] == list(tmp_path.iterdir())


def test_a_fact_called_tokenizer_is_a_fact_like_any_other(saved: Path) -> None:
    """The library knows no tokenizer: another one is refused, and accepted by the library's id."""
    facts = {"noise": 1.0, "tokenizer": "bb"}
    with pytest.raises(unbroken.ResumeRefused) as refused:
        run_of(saved, facts).resume()
    assert "--" not in refused.value.remedy
    run = run_of(saved, facts)
    report = run.resume(accept=["other-facts-unchanged"])
    assert ["other-facts-unchanged"] == [each.id for each in report.decision.use_new]
    run.close()


def test_a_program_says_the_remedy_in_its_own_words(saved: Path) -> None:
    """In the report and in the error."""
    advice = {"other-facts-unchanged": Advice(remedy="Type --noise 1.")}
    run = run_of(saved, {"noise": 2.0, "tokenizer": "aa"}, advice=advice)
    with pytest.raises(unbroken.ResumeRefused) as refused:
        run.resume()
    assert "Type --noise 1." == refused.value.remedy
