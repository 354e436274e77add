"""The report as a person reads it: its lines, their order, and what a plain console sees."""

from __future__ import annotations

import itertools
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.findings import CHECKS, agreeing, finding, report, uncompared, whole_report
from unbroken.checks.check import Check, Severity
from unbroken.checks.decision import decide
from unbroken.checks.report import Report, examine
from unbroken.checks.state_summary import StateSummary
from unbroken.report.terminal import render, sentence, summary

BANNER = "=" * 80

BATCH = finding(
    "batch-geometry-unchanged",
    "64 samples a step, was 8",
    headline="WARNING: Batch size changed! Checkpoint: 8, Current: 64",
)
RATE = finding(
    "learning-rate-continues",
    "o.0: update +0: 7.712000e-04, was 2.000000e-05",
    headline="CRITICAL: LR mismatch (3756.0% difference)",
    alarm="CRITICAL: LR mismatch detected!",
)
PROBE = finding(
    "probe-loss-reproduced",
    "text_loss: 6.2, was 2.1",
    headline="CRITICAL: Large loss variance (193.7%, 131.2%)",
    alarm="CRITICAL: Large loss variance detected!",
)
WEIGHTS = finding("weights-identical", "12 of 151 differ", *(f"m.{i}.w" for i in range(12)))
SETTING = finding("settings-unchanged", "learning_rate is 0.0001, was 2e-05")
NO_PROBE = uncompared("probe-loss-reproduced", "the run has no probe", severity=Severity.WARNING)


def lines(found: Report, *accepted: str, **other: Any) -> list[str]:
    return render(found, decide(found, accepted), **other)


def where(rows: list[str], text: str) -> int:
    """Return the number of the first line with this text."""
    return next(i for i, each in enumerate(rows) if text in each)


def test_a_good_resume_is_a_line_an_area_and_one_verdict() -> None:
    """Banner, what could not be compared, a count for each area, the verdict, banner."""
    rows = lines(whole_report(NO_PROBE))
    assert [BANNER, "[Resume Validation] Running consistency checks...", BANNER] == rows[:3]
    assert [
        f"{len(CHECKS) - 1} agree, 0 differ, 1 cannot compare; 1.9 s",
        "[Resume Validation] ✅ ALL CHECKS PASSED",
        BANNER,
    ] == rows[-3:]
    first, *counts = rows[3:-3]
    assert "cannot compare  The probe gives the saved losses: the run has no probe" == first
    assert "agrees  data                   3 checks" in counts
    assert "agrees  weights                4 of 5 checks" in counts
    assert "agrees  logs                   1 check" in counts
    assert len({each.area for each in CHECKS.values()}) == len(counts)


def test_verbose_is_an_aligned_line_a_check() -> None:
    """Every check stands there with what was compared and how exactly, the worst last."""
    rows = lines(whole_report(NO_PROBE), verbose=True)
    table = rows[4:-3]
    assert len(CHECKS) == len(table)
    assert 1 == len({each.index("exact") for each in table})
    assert table[-1].startswith("cannot compare  The probe gives the saved losses")


def test_every_check_says_what_it_looks_at() -> None:
    """None of ours counts among the checks that a user added."""
    assert not [each.id for each in CHECKS.values() if each.area == Check.area]
    own = replace(agreeing("ties-unchanged"), area=Check.area)
    assert "agrees  added checks  1 check" in lines(report(own))


def test_a_failing_report_says_first_what_is_critical_and_last_that_it_failed() -> None:
    """What was found, why it matters, the cause and the way on stand above all the checks."""
    rows = lines(whole_report(WEIGHTS, PROBE))
    assert "🚨 CRITICAL: Not true: Every weight is the saved weight" == rows[3]
    assert "   Found:          12 of 151 differ" == rows[4]
    labels = ["Found:", "Why it matters:", "Likely cause:", "To go on:", "What follows from it:"]
    places = [where(rows, each) for each in labels]
    assert sorted(places) == places
    assert where(rows, "What follows") < where(rows, "🚨 CRITICAL: Large loss variance detected!")
    assert where(rows, "Large loss variance detected!") < where(rows, "agrees  ")
    assert where(rows, "agrees  ") < where(rows, "2 differ, 0 cannot compare")
    assert [
        "[Resume Validation] ❌ VALIDATION FAILED",
        "  - CRITICAL: Not true: Every weight is the saved weight (12 of 151 differ)",
        "  - CRITICAL: Large loss variance (193.7%, 131.2%)",
        BANNER,
    ] == rows[-4:]


@pytest.mark.parametrize(
    ("found", "alarm"),
    [
        (RATE, "🚨 CRITICAL: LR mismatch detected!"),
        (PROBE, "🚨 CRITICAL: Large loss variance detected!"),
        (
            finding(
                "frozen-rows-out-of-reach",
                headline="CRITICAL: Gradient masking FAILED! Base embeddings have gradients",
            ),
            "🚨 CRITICAL: Gradient masking FAILED! Base embeddings have gradients",
        ),
        (
            finding("frozen-rows-unmoved", headline="CRITICAL: Frozen rows moved"),
            "🚨 CRITICAL: Frozen rows moved",
        ),
        (
            finding(
                "accumulation-restored",
                headline="WARNING: Resuming mid-accumulation cycle (counter=2)",
            ),
            "🚨 WARNING: Resuming mid-accumulation cycle (counter=2)",
        ),
    ],
    ids=["rate", "losses", "mask", "rows", "accumulation"],
)
def test_the_sentences_users_know_keep_their_wording(found: Any, alarm: str) -> None:
    """Each leads its block when it is true, and stands with its numbers below the verdict."""
    rows = lines(whole_report(found))
    assert alarm == rows[3]
    assert f"  - {sentence(found)}" == rows[-2]


def test_another_effective_batch_is_a_warning_and_goes_on() -> None:
    """The known sentence, and that the new one acts; nothing failed."""
    rows = lines(whole_report(BATCH))
    place = rows.index("WARNING: Batch size changed! Checkpoint: 8, Current: 64")
    assert "The new value is used from the next step on" in rows[place + 2]
    assert rows[-2].startswith("[Resume Validation] ✅ PASSED: ")
    assert not any("🚨" in each or "FAILED" in each for each in rows)


def test_what_is_open_names_the_command_and_what_going_on_means() -> None:
    """The exact command that takes the new value; without it the saved one is kept."""
    command = "python train.py --resume auto --accept settings-unchanged"
    rows = lines(whole_report(SETTING), commands={"settings-unchanged": command})
    assert f"{' ' * 19}{command}" in rows
    assert f"{' ' * 19}Continuing without it keeps the saved value." in rows
    assert "Continuing keeps the saved values." in rows[-2]


def test_without_a_command_the_call_is_named() -> None:
    """A user of the library reads what to pass to `resume`; never for what can't be accepted."""
    assert any('accept=["settings-unchanged"]' in each for each in lines(whole_report(SETTING)))
    assert not any("accept=" in each for each in lines(whole_report(WEIGHTS)))


@pytest.mark.parametrize("name", ["training_output", "my run"])
def test_the_way_to_help_can_be_copied(name: str) -> None:
    """A failed report names the run's own directory as a shell takes it; a good one needs none."""
    directory = Path("runs") / name
    (said,) = [e for e in lines(whole_report(WEIGHTS), directory=directory) if "bundle" in e]
    words = said.split("`")[1]
    assert ["unbroken", "bundle", str(directory)] == [
        each.strip('"') for each in shlex.split(words, posix=sys.platform != "win32")
    ]
    assert not any("bundle" in each for each in lines(whole_report(), directory=directory))


def test_where_no_saved_value_can_act_none_is_promised() -> None:
    """A decision that nobody may confirm offers no going on."""
    found = whole_report(SETTING)
    rows = render(found, decide(found).without_confirmation())
    assert not any("oing on" in each for each in rows)


def test_what_was_accepted_is_no_alarm_and_says_which_value_acts() -> None:
    """A rate that follows from an accepted setting is shown as allowed."""
    rows = lines(whole_report(SETTING, RATE), "settings-unchanged")
    assert 2 == sum(each.startswith("ALLOWED: Not true: ") for each in rows)
    assert 2 == sum("The new value is used from the next step on" in each for each in rows)
    assert "settings-unchanged, learning-rate-continues" in rows[-2]
    assert not any("CRITICAL" in each for each in rows)


def test_a_kept_option_says_that_the_saved_one_acts() -> None:
    """What the checkpoint overrules is a warning that names what acts."""
    rows = lines(whole_report(finding("optimizer-options-unchanged", "lr 2, was 1")))
    assert "   The saved value is kept; the new one is not used." in rows


def test_the_worst_stands_last_in_the_table() -> None:
    """Agreeing, not compared, differing, critical: the prompt is below."""
    found = whole_report(BATCH, WEIGHTS, NO_PROBE, uncompared("random-streams-continue"))
    rows = lines(found, verbose=True)
    table = [each for each in rows if each.endswith(CHECKS["weights-identical"].tolerance)]
    outcomes = [key for key, _ in itertools.groupby(each[:14].strip() for each in table)]
    assert ["agrees", "differs", "cannot compare", "differs"] == outcomes
    assert "Every weight is the saved weight" in table[-1]


def test_many_details_are_cut_and_counted() -> None:
    """Ten lines of a finding, then how many more; all of them where all are asked for."""
    rows = lines(whole_report(WEIGHTS))
    assert 10 == sum(each.strip().startswith("m.") for each in rows)
    assert any(each.strip() == "and 2 more" for each in rows)
    everything = lines(whole_report(WEIGHTS), verbose=True)
    assert 12 == sum(each.strip().startswith("m.") for each in everything)


def test_another_cut_of_an_equal_effective_batch_is_a_note() -> None:
    """It agrees: a NOTE with both sizes, no warning, ALL CHECKS PASSED."""
    saved, live = (
        StateSummary(facts={"order": {"effective_batch": 32}, "execution": {"batch": batch}})
        for batch in (8, 4)
    )
    rows = lines(report(*examine([CHECKS["batch-geometry-unchanged"]], saved, live)))
    assert (
        "NOTE: micro-batches of 4, were 8: effective batch 32 unchanged; last bits and dropout masks "
        "are others"
    ) in rows
    assert "[Resume Validation] ✅ ALL CHECKS PASSED" in rows


def test_a_critical_check_that_could_not_compare_is_said_so() -> None:
    """It failed, but nothing was seen to differ."""
    rows = lines(whole_report(uncompared("random-streams-continue")))
    assert rows[3].startswith("🚨 CRITICAL: Could not be checked: Randomness derives")
    assert "VALIDATION FAILED" in rows[-3]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "no-such-one", None])
def test_a_plain_console_reads_the_same_in_its_own_signs(encoding: str | None) -> None:
    """Every line can be shown, and the verdicts say in words what the signs said."""
    failed = lines(whole_report(WEIGHTS, RATE), encoding=encoding)
    passed = lines(whole_report(), encoding=encoding)
    for each in (*failed, *passed):
        each.encode("ascii" if encoding in {None, "no-such-one"} else encoding)
    assert "!! CRITICAL: Not true: Every weight is the saved weight" in failed
    assert "[Resume Validation] [FAILED] VALIDATION FAILED" in failed
    assert "[Resume Validation] [OK] ALL CHECKS PASSED" in passed


def test_nothing_in_a_finding_can_steer_the_terminal() -> None:
    """Escape sequences and line ends in what a checkpoint says are shown, not obeyed."""
    rows = lines(report(finding("weights-identical", "a\x1b[2Jb\r\nc", "leaf\x07\n=====")))
    assert all(each.isprintable() for each in rows)
    assert any("a?[2Jb c" in each for each in rows)


def test_an_empty_report_is_a_report() -> None:
    """No check was made: nothing agreed, nothing is claimed of any."""
    assert "0 agree, 0 differ, 0 cannot compare; 0.0 s" in lines(report(seconds=0.0))


def test_the_time_is_put_beside_the_size_where_that_is_large() -> None:
    """A gigabyte and more tells what a resume costs; of less the checks themselves take the time."""
    large = replace(report(seconds=2.0), state_bytes=2_500_000_000)
    assert "0 agree, 0 differ, 0 cannot compare; 2.0 s, 0.8 s/GB" == summary(large)
    assert "0 agree, 0 differ, 0 cannot compare; 2.0 s" == summary(replace(large, state_bytes=9))
    assert "ALL CHECKS PASSED" in lines(report(agreeing("ties-unchanged")))[-2]
