"""Every fault of the catalogue is met and named rightly."""

from __future__ import annotations

import pytest

from unbroken.selftest.catalogue import AREAS, FAULTS, KNOWN_MISNAMED, KNOWN_MISSED
from unbroken.selftest.runner import BLIND, Score, TrialRow, is_passed, run_selftest
from unbroken.selftest.trial import DetectionKind

ORIGINAL = [
    "evaluation-mode",
    "fsync-after-close",
    "schedule-out-of-step",
    "reset-after-larger-vocabulary",
    "no-loss-validation",
    "no-learning-rate-validation",
    "gradient-mask-not-set",
    "random-states-of-another-gpu-count",
    "gradients-lost-in-accumulation",
]


@pytest.fixture(scope="module")
def all_rows(tmp_path_factory: pytest.TempPathFactory) -> list[TrialRow]:
    """What became of each fault."""
    return list(run_selftest(tmp_path_factory.mktemp("selftest"), [each.id for each in FAULTS]))


@pytest.fixture(scope="module")
def rows(all_rows: list[TrialRow]) -> list[TrialRow]:
    """Of those written by somebody who knew the checks."""
    return [each for each in all_rows if each.area != BLIND]


@pytest.fixture(scope="module")
def blind(all_rows: list[TrialRow]) -> list[TrialRow]:
    """Of those written by somebody who had not read the checks."""
    return [each for each in all_rows if each.area == BLIND]


def test_each_fault_is_met(rows: list[TrialRow]) -> None:
    """By the checks, the replay, the watch, an error, or because it can't happen: none is missed."""
    assert {} == {each.id: each.how for each in rows if not each.is_met}


def test_each_fault_is_one(all_rows: list[TrialRow]) -> None:
    """Unseen, each changes a loss or a weight of the next 20 steps, or ends the program."""
    assert () == Score.of(all_rows).no_fault


def test_the_cause_is_named_rightly(rows: list[TrialRow]) -> None:
    """In at least 95 % of the faults; the others are listed here."""
    assert [] == [f"{each.id}: {each.by}" for each in rows if not each.is_named]
    assert Score.of(rows).is_passed


def test_of_the_blind_faults_exactly_the_known_are_missed(
    all_rows: list[TrialRow], blind: list[TrialRow]
) -> None:
    """A fault more is a regression, one less an improvement: either shows here."""
    assert sorted(KNOWN_MISSED) == sorted(each.id for each in blind if not each.is_met)
    assert is_passed(all_rows)


def test_of_the_blind_faults_exactly_the_known_are_misnamed(blind: list[TrialRow]) -> None:
    """Those met by something else than their author had expected."""
    found = {each.id: each.by for each in blind if each.is_met and not each.is_named}
    assert sorted(KNOWN_MISNAMED) == sorted(found), found


def test_a_fifth_is_written_unread() -> None:
    """Of all faults, by somebody who had not read the checks."""
    assert 0.2 <= sum(each.area == BLIND for each in FAULTS) / len(FAULTS)


def test_there_are_enough_faults_of_enough_kinds() -> None:
    """At least 120 of 40 mechanisms, each with a name and a sentence of its own."""
    assert 120 <= len(FAULTS) == len({each.id for each in FAULTS})
    assert 40 <= len({each.mechanism for each in FAULTS})
    assert len(FAULTS) == len({each.sentence for each in FAULTS})
    assert {each.name for each in AREAS} == {each.area for each in FAULTS}


def test_the_original_bugs_come_first() -> None:
    """The nine bugs that users of the earlier trainer are told of, in their order."""
    assert ORIGINAL == [each.id for each in FAULTS[: len(ORIGINAL)]]


def test_what_was_missed_says_so() -> None:
    """The word for a fault that nobody saw can't be overlooked."""
    assert "MISSED" == DetectionKind.MISSED
