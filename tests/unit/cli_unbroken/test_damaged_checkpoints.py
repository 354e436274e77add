"""`unbroken doctor` of damaged checkpoints: what it advises is what helps, and gives up nothing."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from support.toy_training import build, train
from unbroken.checkpoint.layout import Layout
from unbroken.cli.main import main


def call(*words: object) -> int:
    return main([str(word) for word in words])


def damaged(tmp_path: Path, *steps: int) -> Layout:
    """Return a run with checkpoints at 2, 4 and 6, of which some are cut off."""
    training = build(tmp_path / "run", save_every=2, keep=9)
    train(training, 6)
    training.run.close()
    layout = Layout(tmp_path / "run")
    for each in steps:
        file = layout.checkpoints / f"step-{each:08d}" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:100])
    return layout


@pytest.mark.parametrize("steps", [(2,), (4,), (2, 4)])
def test_doctor_gives_up_nothing_for_an_older_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: tuple[int, ...]
) -> None:
    """Where a newer one is whole nothing need be done, and a resume really takes it."""
    layout = damaged(tmp_path, *steps)
    assert 3 == call("doctor", layout.root)
    said = capsys.readouterr().out
    assert "unbroken repair" not in said
    assert len(steps) == said.count("nothing to do: a resume uses step-00000006")
    training = build(layout.root)
    training.run.close()
    assert 6 == training.report.position.step


@pytest.mark.parametrize("steps", [(6,), (4, 6)])
def test_doctor_goes_back_from_the_newest_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: tuple[int, ...]
) -> None:
    """The command stands once, and does what it says."""
    layout = damaged(tmp_path, *steps)
    assert 3 == call("doctor", "--json", layout.root)
    found = json.loads(capsys.readouterr().out)["checkpoints"]
    remedies = [each["remedy"] for each in found if each["remedy"]]
    assert [f"unbroken repair {shlex.quote(str(layout.root))} previous"] == remedies
    skipping = [each for each in found if "step-00000006 skips" in each["advice"]]
    assert len(steps) - 1 == len(skipping)
    assert 0 == call(*shlex.split(remedies[0])[1:])
    assert 0 == call("doctor", layout.root)


def test_doctor_advises_no_command_where_none_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is true is said: there is none to go back to, and where one may be."""
    layout = damaged(tmp_path, 2, 4, 6)
    assert 3 == call("doctor", layout.root)
    said = capsys.readouterr().out
    assert "unbroken repair" not in said
    assert 3 == said.count("no checkpoint of this run is whole")


@pytest.mark.parametrize("place", ["A", "B"])
def test_diff_of_a_damaged_checkpoint_says_that_it_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """Its manifest still lists the digests that were saved, and those are equal."""
    run = damaged(tmp_path)
    copy = run.root / "copy" / "step-00000006"
    shutil.copytree(run.checkpoints / "step-00000006", copy)
    file = copy / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    pair = (copy, run.checkpoints / copy.name)
    assert 4 == call("diff", *(pair if place == "A" else reversed(pair)))
    said = capsys.readouterr()
    assert "is damaged" in said.err
    assert "0 of" not in said.out
