"""The newest whole checkpoint is found, whatever lies around it, and damage is moved by training alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import xxhash

from support.toy_training import Training, build, train
from unbroken.checkpoint import read
from unbroken.checkpoint.layout import Layout
from unbroken.cli.main import main
from unbroken.errors import CheckpointCorrupt, NoUsableCheckpoint
from unbroken.run import resume as resuming


def trained(directory: Path, until: int = 6) -> Layout:
    training = build(directory, save_every=2, keep=9)
    train(training, until)
    training.run.close()
    return Layout(directory)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite_manifest(checkpoint: Path, **changed: Any) -> None:
    path = checkpoint / "manifest.json"
    found = json.loads(path.read_text(encoding="utf-8"))["manifest"] | changed
    body = json.dumps(found, indent=1, sort_keys=True)
    digest = xxhash.xxh3_128_hexdigest(body.encode())
    path.write_text(f'{{"digest": "{digest}",\n"manifest": {body}}}\n', encoding="utf-8")


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir()) if directory.is_dir() else []


def resumed(directory: Path) -> Training:
    training = build(directory, save_every=2, keep=9)
    training.run.close()
    return training


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_one_goes_to_quarantine_with_the_reason(tmp_path: Path, file: str) -> None:
    """The next older one is taken, the cost is said, and the same end is reached."""
    layout = trained(tmp_path)
    flip(layout.checkpoints / "step-00000006" / file)
    training = resumed(tmp_path)
    assert 4 == training.report.position.step
    said = "\n".join(training.report.notes)
    assert "costs 2 steps" in said
    assert "quarantine" in said
    assert ["step-00000002", "step-00000004"] == names(layout.checkpoints)
    moved, reason = names(layout.quarantine)
    assert moved.startswith("step-00000006.")
    assert f"{moved}.reason.txt" == reason
    assert "step-00000006" in (layout.quarantine / reason).read_text(encoding="utf-8")
    assert not (layout.quarantine / moved / file).is_symlink()


def test_minutes_are_said_where_they_are_known(tmp_path: Path) -> None:
    """From the times at which the two were made."""
    layout = trained(tmp_path)
    made = read.Checkpoint.at(layout.checkpoints / "step-00000004").manifest.created
    rewrite_manifest(layout.checkpoints / "step-00000006", created=made + 600.0)
    flip(layout.checkpoints / "step-00000006" / "model.safetensors")
    assert "2 steps, about 10 minutes" in "\n".join(resumed(tmp_path).report.notes)


def missed(training: Training) -> list[str]:
    return [each for each in training.report.notes if "any more" in each]


def test_a_checkpoint_that_was_taken_away_is_missed_once(tmp_path: Path) -> None:
    """Its name, steps and minutes are said; the next start went on without it and misses nothing."""
    layout = trained(tmp_path)
    before = read.Checkpoint.at(layout.checkpoints / "step-00000004").manifest.created
    history = [json.loads(each) for each in layout.history.read_text("utf-8").splitlines()]
    history[-2]["time"] = before + 600.0  # after it the run was closed
    text = "".join(json.dumps(each) + "\n" for each in history)
    layout.history.write_text(text, encoding="utf-8", newline="\n")
    shutil.rmtree(layout.checkpoints / "step-00000006")
    (said,) = missed(resumed(tmp_path))
    assert said.startswith("WARNING: step-00000006 was saved, but is not under ")
    assert "from step-00000004 instead costs 2 steps, about 10 minutes of training" in said
    assert [] == missed(resumed(tmp_path))


def test_latest_alone_tells_of_it(tmp_path: Path) -> None:
    """Where the history lost the line; without a time no minutes are said."""
    layout = trained(tmp_path)
    lines = layout.history.read_text("utf-8").splitlines(keepends=True)
    layout.history.write_text("".join(lines[:-2]), encoding="utf-8", newline="\n")
    shutil.rmtree(layout.checkpoints / "step-00000006")
    (said,) = missed(resumed(tmp_path))
    assert "costs 2 steps; they are trained again" in said


@pytest.mark.parametrize("how", ["retention", "older", "damaged", "repaired"])
def test_what_was_given_up_is_not_missed(tmp_path: Path, how: str) -> None:
    """Deleted by retention, newer than a checkpoint that was asked for, damaged, gone back from."""
    layout = trained(tmp_path)
    newest = layout.checkpoints / "step-00000006"
    if how == "retention":
        shutil.rmtree(layout.checkpoints / "step-00000002")
    elif how == "older":
        build(tmp_path, str(layout.checkpoints / "step-00000004"), save_every=2).run.close()
    elif how == "damaged":
        flip(newest / "model.safetensors")
        assert [] == missed(resumed(tmp_path))
    else:
        assert 0 == main(["repair", str(tmp_path), "previous"])
    assert (how == "retention") == newest.exists()
    assert [] == missed(resumed(tmp_path))


def test_looking_moves_nothing(tmp_path: Path) -> None:
    """Whoever only looks leaves the damaged one where it is."""
    layout = trained(tmp_path)
    flip(layout.checkpoints / "step-00000006" / "model.safetensors")
    target = resuming.find_source(tmp_path, "auto")
    assert target.checkpoint is not None
    assert "step-00000004" == target.checkpoint.path.name
    assert 3 == len(names(layout.checkpoints))
    assert not layout.quarantine.exists()


def test_an_error_of_the_disk_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be read now may be whole: it is passed over and left in its place."""
    layout = trained(tmp_path)
    bad = layout.checkpoints / "step-00000006" / "model.safetensors"
    original = Path.open

    def failing(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == bad:
            raise OSError(5, "Input/output error", str(path))
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    training = resumed(tmp_path)
    assert 4 == training.report.position.step
    assert "Input/output error" in "\n".join(training.report.notes)
    assert not layout.quarantine.exists()


def test_what_is_whole_on_the_second_reading_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit in memory costs nothing: read again past the cache, it is whole."""
    trained(tmp_path)
    original, calls = read.Checkpoint.verify, 0

    def verify(checkpoint: read.Checkpoint, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise CheckpointCorrupt("what", "why", "remedy")
        original(checkpoint, *args)

    monkeypatch.setattr(read.Checkpoint, "verify", verify)
    training = resumed(tmp_path)
    assert 6 == training.report.position.step
    assert () == training.report.notes
    assert 2 == calls


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Another run's, a later version's, a half copied one, files of editors: all stay."""
    layout = trained(tmp_path)
    newest = layout.checkpoints / "step-00000006"
    foreign = layout.checkpoints / "step-00000008"
    shutil.copytree(newest, foreign)
    rewrite_manifest(foreign, run_id="somebodyelse")
    later = layout.checkpoints / "step-00000009"
    shutil.copytree(newest, later)
    rewrite_manifest(later, format=6, news={"a": 1})
    copied = layout.checkpoints / "step-00000010"
    shutil.copytree(newest, copied)
    (copied / "manifest.json").unlink()
    (layout.checkpoints / ".step-00000006.swp").write_bytes(b"x")
    (layout.checkpoints / "step-00000011").write_bytes(b"a file")
    before = names(layout.checkpoints)
    training = resumed(tmp_path)
    assert 6 == training.report.position.step
    assert before == names(layout.checkpoints)
    assert not layout.quarantine.exists()
    assert "has format 6; this version knows 1, 2, 3, 4, 5" in "\n".join(training.report.notes)


def test_where_none_is_whole_nothing_is_changed(tmp_path: Path) -> None:
    """Exit code 4, and not a byte is moved."""
    layout = trained(tmp_path, 2)
    flip(layout.checkpoints / "step-00000002" / "model.safetensors")
    with pytest.raises(NoUsableCheckpoint, match="is whole") as refused:
        resumed(tmp_path)
    assert 4 == refused.value.exit_code
    assert ["step-00000002"] == names(layout.checkpoints)
    assert not layout.quarantine.exists()


@pytest.mark.parametrize("known_by", ["latest", "history.jsonl"])
def test_checkpoints_that_vanished_are_missed(tmp_path: Path, known_by: str) -> None:
    """A run that saved once doesn't begin again in silence when its checkpoints are gone."""
    layout = trained(tmp_path, 2)
    shutil.rmtree(layout.checkpoints)
    (layout.history if known_by == "latest" else layout.latest).unlink()
    with pytest.raises(NoUsableCheckpoint, match="says that this run saved"):
        resumed(tmp_path)


def test_a_run_that_never_saved_begins_again(tmp_path: Path) -> None:
    """Killed before its first save: step 0 again, and its journal is repeated."""
    training = build(tmp_path, save_every=0)
    steps = training.run.steps(3)
    for each in steps:
        for micro in each.micro_batches(6):
            each.backward(training.model(micro_features(len(micro.indices))).sum())
        each.update()
        if each.number == 2:
            break
    again = build(tmp_path)
    assert "began again" == again.report.outcome
    assert 2 == again.report.steps_to_repeat
    again.run.close()


def micro_features(count: int) -> Any:
    import torch

    return torch.ones(count, 4)


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_an_explicit_path_is_never_replaced(tmp_path: Path, how: str) -> None:
    """A bad path that was named is an error, whatever else is whole."""
    layout = trained(tmp_path)
    path = layout.checkpoints / "step-00000006"
    if how == "damaged":
        flip(path / "model.safetensors")
    else:
        shutil.rmtree(path)
    with pytest.raises((CheckpointCorrupt, NoUsableCheckpoint)) as refused:
        build(tmp_path, str(path))
    assert 4 == refused.value.exit_code
    assert not layout.quarantine.exists()


def test_a_writer_that_just_went_leaves_its_last_checkpoint(tmp_path: Path) -> None:
    """What was saved between the look and the lock is continued from, not set aside."""
    trained(tmp_path, 2)
    target = resuming.find_source(tmp_path, "auto")
    trained(tmp_path, 6)
    training = build(tmp_path)
    training.run.close()
    stale = resuming.confirm_source(target)
    assert stale.checkpoint is not None
    assert 6 == stale.checkpoint.position.step
    assert not Layout(tmp_path).superseded.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_checkpoint_without_permission_stays(tmp_path: Path) -> None:
    """What may not be read is passed over and left alone."""
    layout = trained(tmp_path)
    (layout.checkpoints / "step-00000006" / "manifest.json").chmod(0)
    assert 4 == resumed(tmp_path).report.position.step
    assert not layout.quarantine.exists()


def test_a_slow_save_is_warned_of(tmp_path: Path) -> None:
    """The last save's time against the grace, said at the next start."""
    trained(tmp_path, 2)
    assert () == resumed(tmp_path).report.notes
    training = build(tmp_path, grace_seconds=0.0)
    training.run.close()
    assert any("the last save took" in note for note in training.report.notes)


def test_checkpoints_of_another_run_are_said_to_be_that(tmp_path: Path) -> None:
    """Somebody copied the wrong directory: both runs are named, and nothing begins at 0."""
    layout, other = trained(tmp_path / "run"), trained(tmp_path / "other")
    theirs = json.loads(other.run_file.read_bytes())["run_id"]
    shutil.rmtree(layout.checkpoints)
    shutil.copytree(other.checkpoints, layout.checkpoints)
    with pytest.raises(
        NoUsableCheckpoint, match=rf"\(run {theirs}\).* is of another run"
    ) as refused:
        resumed(tmp_path / "run")
    assert json.loads(layout.run_file.read_bytes())["run_id"] in refused.value.what
