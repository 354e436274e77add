"""Checkpoints whose `run.json` is gone are no reason to begin at step 0; they can be gone on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import unbroken
from support.rewritten_checkpoint import rewrite
from support.toy_training import build, train


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A run of five steps that lost its `run.json`."""
    place = tmp_path / "run"
    training = build(place)
    train(training, 5)
    training.run.close()
    (place / "run.json").unlink()
    return place


def copied(lost: Path) -> Path:
    """Return a directory to which only `checkpoints/` was copied."""
    place = lost.parent / "copy"
    shutil.copytree(lost / "checkpoints", place / "checkpoints")
    return place


@pytest.mark.parametrize("how", ["auto", "latest", ""])
@pytest.mark.parametrize("is_copy", [False, True])
def test_nothing_begins_over_them(lost: Path, how: str, *, is_copy: bool) -> None:
    """Refused with what stands there; nothing is moved."""
    place = copied(lost) if is_copy else lost
    before = sorted(place.rglob("*"))
    with pytest.raises(unbroken.NoUsableCheckpoint, match=r"no run\.json") as refused:
        build(place, how)
    assert 4 == refused.value.exit_code
    assert str(place / "checkpoints" / "step-00000005") in refused.value.remedy
    assert before == [
        each for each in sorted(place.rglob("*")) if not each.name.startswith(".writer")
    ]


@pytest.mark.parametrize("is_copy", [False, True])
def test_the_way_on_that_is_named_works(lost: Path, *, is_copy: bool) -> None:
    """The run goes on under its own name, and from then on `auto` finds it again."""
    place = copied(lost) if is_copy else lost
    newest = place / "checkpoints" / "step-00000005"
    training = build(place, str(newest))
    assert ("resumed", 5) == (training.report.outcome, training.report.position.step)
    assert any("run.json" in each for each in training.report.notes)
    train(training, 6)
    training.run.close()
    again = build(place)
    assert (6, training.run.run_id) == (again.report.position.step, again.run.run_id)
    again.run.close()
    assert unbroken.find_checkpoint(newest).manifest.run_id == again.run.run_id


def test_a_record_without_a_checkpoint_is_refused_too(lost: Path) -> None:
    """A new run would be compared with its steps."""
    shutil.rmtree(lost / "checkpoints")
    with pytest.raises(unbroken.NoUsableCheckpoint, match=r"record of a run .* no checkpoint"):
        build(lost)


def test_a_manifest_that_is_lost_is_told_with_what_it_costs(tmp_path: Path) -> None:
    """The history knows that the checkpoint was whole once."""
    training = build(tmp_path)
    train(training, 5)
    training.run.close()
    (tmp_path / "checkpoints" / "step-00000005" / "manifest.json").unlink()
    again = build(tmp_path)
    again.run.close()
    (told,) = again.report.notes
    assert "step-00000005 was saved, but its manifest.json is lost" in told
    assert "going on from step-00000003 instead costs 2 steps" in told


def test_a_checkpoint_from_before_there_were_seed_schemes_goes_on_by_the_first(lost: Path) -> None:
    """It has no evidence; what it derives its randomness from is not guessed to be the newest way."""
    newest = lost / "checkpoints" / "step-00000005"
    rewrite(newest, lambda _, evidence: evidence.clear())
    build(lost, str(newest)).run.close()
    assert 1 == json.loads((lost / "run.json").read_bytes())["seed_scheme"]
