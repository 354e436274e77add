"""A run killed before its first save begins again; what it was begun with is compared then too."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import unbroken
from support.changeable_training import Training
from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines
from unbroken.replay.replay import ReplayOutcome


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A run that journalled five steps and saved none."""
    training = Training(tmp_path / "run")
    training.run.resume()
    without_a_save(training, 5)
    return training.run.layout.root


def without_a_save(training: Training, until: int) -> None:
    """Train, and end as if killed: the end of a training would save."""
    original = training.run.end_step

    def end_step(*given: Any, **named: Any) -> unbroken.StepResult:
        result = original(*given, **named)
        if result.step == until:
            raise KeyboardInterrupt
        return result

    with suppress(KeyboardInterrupt), patch.object(training.run, "end_step", end_step):
        training.train(99)
    training.run.close()


def contents(root: Path) -> dict[str, bytes]:
    """Return what lies there, but for the line of the refusal and the lock."""
    files = [each for each in root.rglob("*") if each.is_file() and not each.name.startswith(".")]
    return {each.name: each.read_bytes() for each in files if each.name != "history.jsonl"}


def test_the_same_run_begins_again_and_is_proved(killed: Path) -> None:
    """Facts and weights are those it was begun with, so the journal proves every repeated step."""
    training = Training(killed)
    report = training.run.resume()
    assert "began again" == report.outcome
    assert report.checks.findings
    assert [] == [each.id for each in report.checks.findings if "agrees" != each.outcome]
    assert [] == [each for each in report.notes if "could not be compared" in each]
    without_a_save(training, 5)
    assert training.run.monitor.verdict is not None
    assert ReplayOutcome.EXACT is training.run.monitor.verdict.outcome


@pytest.mark.parametrize(
    ("other", "id_", "proof"),
    [
        ({"rate": 0.2}, "settings-unchanged", ReplayOutcome.UNPROVED),
        ({"mix": 2}, "other-facts-unchanged", ReplayOutcome.EXACT),
    ],
)
def test_what_differs_is_refused_until_it_is_accepted(
    killed: Path, other: dict[str, float], id_: str, proof: ReplayOutcome
) -> None:
    """As at any resume: nothing is changed, and the accepted value is what is compared next."""
    before = contents(killed)
    with pytest.raises(unbroken.ResumeRefused) as refused:
        Training(killed, **other).run.resume()
    assert 3 == refused.value.exit_code
    assert refused.value.report is not None
    assert [id_] == [each.id for each in refused.value.report.critical]
    assert before == contents(killed)
    training = Training(killed, **other)
    report = training.run.resume(accept=[id_])
    assert [id_] == [each.id for each in report.decision.use_new]
    without_a_save(training, 6)
    verdict = training.run.monitor.verdict
    assert verdict is not None
    assert proof is verdict.outcome
    again = Training(killed, **other)
    assert not again.run.resume().decision.use_new
    without_a_save(again, 6)
    assert again.run.monitor.verdict is not None
    assert ReplayOutcome.EXACT is again.run.monitor.verdict.outcome


def test_another_effective_batch_is_met(killed: Path) -> None:
    """What the order is made of is a fact like the others."""
    report = Training(killed, batch=8).run.resume().checks
    assert "differs" == report.of("batch-geometry-unchanged").outcome


def test_other_weights_are_no_proof(killed: Path) -> None:
    """It begins with another base: it goes on, its steps prove nothing, and later ones are its own."""
    training = Training(killed)
    training.model.get_parameter("0.weight").data.mul_(2)
    training.run.resume()
    without_a_save(training, 3)
    verdict = training.run.monitor.verdict
    assert verdict is not None
    assert ReplayOutcome.UNPROVED is verdict.outcome
    again = Training(killed)
    again.model.get_parameter("0.weight").data.mul_(2)
    assert 3 == again.run.resume().steps_to_repeat  # not the five of the other weights
    without_a_save(again, 5)
    assert again.run.monitor.verdict is not None
    assert ReplayOutcome.EXACT is again.run.monitor.verdict.outcome


def missing(layout: Layout) -> None:
    layout.start_file.unlink()


def damaged(layout: Layout) -> None:
    layout.start_file.write_text('{"run_id": ', encoding="utf-8")


def of_another_run(layout: Layout) -> None:
    content = json.loads(layout.start_file.read_bytes())
    text = json.dumps(content | {"run_id": "0123456789ab"})
    layout.start_file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("spoil", [missing, damaged, of_another_run])
def test_where_nothing_tells_the_beginning_it_says_so(
    killed: Path, spoil: Callable[[Layout], None]
) -> None:
    """A run of an earlier version begins again without comparison, and a note says that."""
    spoil(Layout(killed))
    training = Training(killed, mix=2)
    report = training.run.resume()
    assert any("could not be compared" in each for each in report.notes)
    training.run.close()
    with pytest.raises(unbroken.ResumeRefused, match="mix is 3, was 2"):
        Training(killed, mix=3).run.resume()


def test_a_run_that_trained_no_step_may_begin_otherwise(tmp_path: Path) -> None:
    """Killed in its first step, for want of memory perhaps: there is nothing to agree with."""
    training = Training(tmp_path)
    training.run.resume()
    training.run.close()
    other = Training(tmp_path, rate=0.2)
    assert () == other.run.resume().checks.findings
    other.run.close()


def test_a_new_run_moves_the_beginning_of_the_old_one_away_with_it(killed: Path) -> None:
    """`earlier/` holds a run whole; the new run has a beginning of its own."""
    training = Training(killed, mix=2)
    training.run.resume("")
    training.run.close()
    (place,) = training.run.layout.earlier.iterdir()
    old, new = (json.loads((each / "start.json").read_bytes()) for each in (place, killed))
    assert (1, 2) == (old["facts"]["mix"], new["facts"]["mix"])
    events = [line["event"] for line in read_lines(killed / "history.jsonl")]
    assert ["start", "closed"] == events
