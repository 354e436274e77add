"""The catalogue: ids, severities and what acts on acceptance; what a person reads; what is public."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from unbroken import checks
from unbroken.checks import Check, every_check
from unbroken.checks.root_cause import RULES
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS
from unbroken_tts.train.remedies import REMEDIES

PROMISED = [
    ("vocabulary-size-unchanged", "critical", "never"),
    ("tokenizer-unchanged", "critical", "never"),
    ("model-configuration-unchanged", "critical", "never"),
    ("data-set-unchanged", "critical", "never"),
    ("order-unchanged", "critical", "never"),
    ("settings-unchanged", "critical", "take new"),
    ("batch-geometry-unchanged", "warning", "take new"),
    ("pytorch-version-unchanged", "warning", "keep saved"),
    ("gpus-unchanged", "warning", "keep saved"),
    ("execution-unchanged", "warning", "keep saved"),
    ("parts-complete", "critical", "never"),
    ("model-leaves-complete", "critical", "never"),
    ("ties-unchanged", "critical", "never"),
    ("trainable-parameters-unchanged", "critical", "keep saved"),
    ("optimizer-alignment-by-name", "critical", "never"),
    ("optimizer-covers-parameters", "critical", "never"),
    ("optimizer-options-unchanged", "warning", "take new"),
    ("schedule-unchanged", "critical", "take new"),
    ("other-facts-unchanged", "critical", "take new"),
    ("weights-identical", "critical", "never"),
    ("training-mode-unchanged", "critical", "never"),
    ("frozen-rows-unmoved", "critical", "never"),
    ("frozen-rows-out-of-reach", "critical", "never"),
    ("optimizer-state-identical", "critical", "never"),
    ("counters-agree", "critical", "never"),
    ("accumulation-restored", "critical", "never"),
    ("learning-rate-continues", "critical", "take new"),
    ("rate-is-the-schedules", "critical", "never"),
    ("other-state-identical", "critical", "never"),
    ("next-samples-identical", "critical", "take new"),
    ("random-streams-continue", "critical", "never"),
    ("values-are-finite", "critical", "never"),
    ("probe-loss-reproduced", "critical", "keep saved"),
    ("logs-continue", "warning", "never"),
]
"""Of a training run: what scripts name by `--accept`, in the order of the report."""

FLAG = re.compile(r"(?<![\w-])--[a-z]|--resume")


def test_ids_severities_and_what_acts_are_what_they_were() -> None:
    """A script that accepts by id means the same under every version."""
    made = every_check(added=TRAINER_CHECKS, advice=REMEDIES)
    assert PROMISED == [(each.id, str(each.severity), str(each.on_accept)) for each in made]


def test_the_library_s_own_are_the_rest() -> None:
    """What speaks of tokenizer, vocabulary or a model's configuration is the trainer's."""
    assert [id_ for id_, _, _ in PROMISED[3:]] == [each.id for each in every_check()]


@pytest.mark.parametrize("check", every_check(), ids=lambda each: each.id)
def test_a_check_of_the_library_names_no_flag(check: Check) -> None:
    """Its user has arguments; a program with flags says them in its own advice."""
    for sentence in (check.why, check.cause, check.remedy):
        assert not FLAG.search(sentence)


def test_the_rules_of_the_library_name_no_flag() -> None:
    """The cause of a constellation is said as generally."""
    assert [] == [each for each in RULES if FLAG.search(each.because)]


def test_the_trainer_s_remedies_are_of_checks_that_exist() -> None:
    """A check that is renamed doesn't lose its sentence unseen."""
    assert REMEDIES.keys() <= {each.id for each in every_check()}


def test_advice_takes_the_place_of_a_check_s_words() -> None:
    """What it leaves empty the check says; the library's own check stays as it is."""
    (own,) = (each for each in every_check() if each.id == "order-unchanged")
    advice = {own.id: checks.Advice(remedy="Leave out --seed.")}
    (said,) = (each for each in every_check(advice=advice) if each.id == own.id)
    assert ("Leave out --seed.", own.cause, own.why) == (said.remedy, said.cause, said.why)
    assert "--seed" not in own.remedy


def test_every_public_name_is_there() -> None:
    """`unbroken.checks` holds what it lists, and nothing else is asked of it."""
    assert all(getattr(checks, name) is not None for name in checks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Verdict'"):
        checks.Verdict  # noqa: B018


def test_the_package_is_imported_without_torch() -> None:
    """A command line may name it and still answer at once."""
    code = "import sys, unbroken.checks; sys.exit('torch' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
