"""The report as JSON and as files: what a program and a later reader find."""

from __future__ import annotations

import json
from pathlib import Path

from support.findings import CHECKS, finding, report, whole_report
from unbroken.checks.decision import decide
from unbroken.checks.report import Report
from unbroken.report.document import document, to_json
from unbroken.report.saved_report import save_report

NOON = 1_700_000_000.0
"""14 November 2023, 22:13:20 UTC."""


def failing() -> Report:
    return whole_report(
        finding("settings-unchanged", "seed is 2, was 1"),
        finding("learning-rate-continues"),
        finding("optimizer-options-unchanged"),
        finding("ties-unchanged", "m.a is another tensor"),
    )


def test_the_document_holds_findings_causes_and_the_decision() -> None:
    """Who leads, what is open and what acts can be read without parsing a sentence."""
    found = failing()
    read = document(found, decide(found))
    assert 1 == read["format"]
    assert {"agrees": len(CHECKS) - 4, "differs": 4, "cannot compare": 0} == read["counts"]
    assert [("settings-unchanged", 2), ("ties-unchanged", 0)] == [
        (each["lead"], len(each["follows"])) for each in read["causes"]
    ]
    assert (False, False) == (read["goes_on"], read["can_be_confirmed"])
    assert ["settings-unchanged", "ties-unchanged", "learning-rate-continues"] == read["open"]
    assert ["optimizer-options-unchanged"] == read["saved_value_acts"]
    assert [*CHECKS] == [each["id"] for each in read["findings"]]


def test_the_json_reads_back_to_the_document() -> None:
    """Nothing in it is lost or needs more than ASCII; strict readers take it."""
    found = report(finding("weights-identical", "2 differ", "m.w → other", "m.ጤ"))
    text = to_json(found, decide(found))
    assert text.isascii()
    assert document(found, decide(found)) == json.loads(text)


def test_a_resume_that_agrees_goes_on() -> None:
    """No cause, nothing open, nothing to be confirmed."""
    found = whole_report()
    read = document(found, decide(found))
    assert (True, False, [], []) == (
        read["goes_on"],
        read["can_be_confirmed"],
        read["causes"],
        read["open"],
    )


def test_the_saved_report_is_named_by_step_and_time_and_is_whole(tmp_path: Path) -> None:
    """Every detail is in it, in UTF-8 with plain line ends, and the JSON lies beside it."""
    found = report(finding("weights-identical", "40 differ", *(f"m.{i}.w" for i in range(40))))
    place = save_report(tmp_path / "logs", 3500, found, decide(found), now=NOON)
    assert tmp_path / "logs" / "resume-3500-20231114-221320.txt" == place
    text = place.read_bytes().decode("utf-8")
    assert "❌ VALIDATION FAILED" in text
    assert "m.39.w" in text
    assert "\r" not in text
    assert document(found, decide(found)) == json.loads(place.with_suffix(".json").read_bytes())


def test_two_reports_of_one_second_are_both_kept(tmp_path: Path) -> None:
    """A start that is repeated at once overwrites nothing."""
    found = whole_report()
    places = [save_report(tmp_path, 1, found, decide(found), now=NOON) for _ in range(3)]
    assert 3 == len(set(places))
    assert 6 == len(list(tmp_path.iterdir()))
