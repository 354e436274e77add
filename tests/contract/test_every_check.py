"""Every check keeps its own promises: its examples, its page, its id."""

from __future__ import annotations

import inspect
import re
import sys

import pytest

from support.findings import CHECKS
from unbroken.checks.catalogue import LIBRARY
from unbroken.checks.check import Check, CheckOutcome, Stage, wrong_examples
from unbroken.checks.fact_check import FactCheck
from unbroken.checks.state_summary import StateSummary
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS

BY_ID = [pytest.param(each, id=each.id) for each in CHECKS.values()]


@pytest.mark.parametrize("check", BY_ID)
def test_its_examples_come_out_as_it_says(check: Check) -> None:
    """What it calls equal agrees, and what it calls different differs."""
    assert check.AGREES
    assert check.DIFFERS
    assert [] == wrong_examples(check)


@pytest.mark.parametrize("check", BY_ID)
def test_it_has_something_to_say_about_nothing(check: Check) -> None:
    """Two empty summaries crash no check; nothing of ours missing is ever taken for a difference."""
    assert CheckOutcome.DIFFERS is not check.compare(StateSummary(), StateSummary()).outcome


@pytest.mark.parametrize("check", BY_ID)
def test_its_file_is_its_page(check: Check) -> None:
    """The file is named after it; it says what it compares, why, and what it does not."""
    for sentence in (check.why, check.cause, check.remedy):
        assert sentence.endswith(".")
    if isinstance(check, FactCheck):  # declared as data, with its page
        assert check.compares.endswith(".")
        assert check.does_not.endswith(".")
        return
    module = sys.modules[type(check).__module__]
    assert check.id == module.__name__.rpartition(".")[2].replace("_", "-")
    assert re.search(r"^Compares: ", module.__doc__ or "", re.MULTILINE)
    assert re.search(r"^Why: ", module.__doc__ or "", re.MULTILINE)
    assert re.search(r"^Does not: ", module.__doc__ or "", re.MULTILINE)
    assert len(inspect.getsource(module).splitlines()) <= 130


def test_ids_are_unique_and_the_order_is_that_of_the_resume() -> None:
    """Each id names one check; what can be seen before the restore comes first."""
    assert len(CHECKS) == len(LIBRARY) + 1 + len(TRAINER_CHECKS)
    stages = [each.stage for each in CHECKS.values()]
    assert sorted(stages, key=list(Stage).index) == stages
