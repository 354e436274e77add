"""A new run begins where a training of another program stood, and goes on from there exactly."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import unbroken
from support.toy_training import build, train
from unbroken.journal.journal import last_line_of_each_step, read_lines


def foreign(directory: Path, source: Path) -> Path:
    """Begin a run with what another one has reached, and save it; return the checkpoint."""
    there, here = build(source), build(directory)
    here.model.load_state_dict(there.model.state_dict())
    here.optimizer.load_state_dict(there.optimizer.state_dict())
    here.run.schedulers[0].load_state_dict(there.run.schedulers[0].state_dict())
    here.run.begin_at(there.run.position)
    place = here.run.save()
    for each in (there, here):
        each.run.close()
    return place


def test_it_goes_on_as_the_other_would(tmp_path: Path) -> None:
    """Every step after it has the journal line that the other training's has, to the last bit."""
    whole = build(tmp_path / "whole")
    train(whole, 9)
    whole.run.close()
    other = build(tmp_path / "other")
    train(other, 6)
    other.run.save()
    other.run.close()
    assert foreign(tmp_path / "new", tmp_path / "other").name == "step-00000006"
    new = build(tmp_path / "new")
    assert new.report.outcome == "resumed"
    assert [] == new.report.checks.critical
    train(new, 9)
    new.run.close()
    expected, found = (
        last_line_of_each_step(tmp_path / name / "journal.jsonl") for name in ("whole", "new")
    )
    assert list(range(7, 10)) == sorted(found)
    for step in found:
        assert {**expected[step], "start": 0} == {**found[step], "start": 0}


def test_the_history_keeps_where_it_began(tmp_path: Path) -> None:
    """Nobody has to guess why the journal begins at step 7."""
    other = build(tmp_path / "other")
    train(other, 6)
    other.run.save()
    other.run.close()
    foreign(tmp_path / "new", tmp_path / "other")
    lines = read_lines(tmp_path / "new" / "history.jsonl")
    (line,) = [each for each in lines if each["event"] == "begins at"]
    assert (line["step"], line["updates"], line["samples"]) == (6, 6, 0)


def test_a_beginning_that_was_killed_before_its_save_is_made_again(tmp_path: Path) -> None:
    """A run without a step or a checkpoint has no past of its own yet."""
    place = unbroken.Position(epoch=1, step=4, updates=4)
    for number in range(2):
        training = build(tmp_path)
        assert training.report.outcome == ("began", "began again")[number]
        schedule = training.run.schedulers[0]
        schedule.load_state_dict(schedule.state_dict() | {"updates": 4})
        training.run.begin_at(place)
        if number:
            assert training.run.save().name == "step-00000004"
        training.run.close()
    again = build(tmp_path)
    assert (again.report.outcome, again.run.position) == ("resumed", place)
    again.run.close()


def test_a_run_that_begins_again_after_steps_is_left_where_it_stands(tmp_path: Path) -> None:
    """Its journal knows steps that it is to repeat."""

    def killed(result: unbroken.StepResult) -> None:
        raise KeyboardInterrupt

    training = build(tmp_path, save_every=0)
    with suppress(KeyboardInterrupt):
        train(training, 2, after_step=killed)
    training.run.close()
    again = build(tmp_path, save_every=0)
    assert again.report.outcome == "began again"
    with pytest.raises(unbroken.RunMisused, match="was resumed or has trained"):
        again.run.begin_at(unbroken.Position(step=9, updates=9))
    again.run.close()


@pytest.mark.parametrize("trained", [1, 3])
def test_a_run_with_a_past_is_left_where_it_stands(tmp_path: Path, trained: int) -> None:
    """Neither after a step nor after a resume can it be put elsewhere."""
    training = build(tmp_path)
    train(training, trained)
    if trained == 3:
        training.run.save()
        training.run.close()
        training = build(tmp_path)
    before = training.run.position
    with pytest.raises(unbroken.RunMisused, match="was resumed or has trained"):
        training.run.begin_at(unbroken.Position(step=9, updates=9))
    assert before == training.run.position
    training.run.close()


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (unbroken.Position(step=5, updates=6), "6 updates in 5 steps"),
        (unbroken.Position(step=5, updates=5, batch=4), "an epoch has 4 step batches"),
        (unbroken.Position(step=5, updates=5, samples=2), "2 samples of a step"),
        (unbroken.Position(step=-1), "step is -1"),
        (unbroken.Position(epoch=True), "epoch is True"),
    ],
)
def test_a_place_that_the_order_has_not_is_refused(
    tmp_path: Path, position: unbroken.Position, words: str
) -> None:
    """The message has the counter; the run stands at its beginning."""
    training = build(tmp_path)
    with pytest.raises(unbroken.SettingsInvalid) as error:
        training.run.begin_at(position)
    assert words in error.value.what
    assert unbroken.Position() == training.run.position
    training.run.close()
