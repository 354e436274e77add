"""Files that are no files, and what a resume leaves alone, sets aside, sweeps and mends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import unbroken
from support import toy_training as toy
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import CheckpointCorrupt

FILES = [
    "manifest.json",
    "state.json",
    "facts.json",
    "evidence.json",
    "model.safetensors",
    "optimizer.safetensors",
    "gradients.safetensors",
    "sums.safetensors",
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints after steps 2 and 4, and the newest inside step 5."""
    directory = tmp_path_factory.mktemp("original")
    training = toy.build(directory, save_every=2, keep=9, grace_seconds=0)

    def ask(position: unbroken.Position) -> None:
        if (position.step, position.samples) == (5, 0):
            training.run.stop.ask("a test")

    with pytest.raises(unbroken.Stopped):
        toy.train(training, 9, ask)
    training.run.close()
    return directory


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of that run to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "run"))


def newest(run: Path) -> Path:
    return Layout(run).checkpoints / "step-00000005+2"


def load(checkpoint: Path) -> None:
    """Read all there is, as a resume does."""
    found = Checkpoint.at(checkpoint)
    found.verify()
    read_only(found)


def read_only(found: Checkpoint) -> None:
    found.facts()
    found.evidence()
    found.parts()


def must_be_found(checkpoint: Path) -> None:
    with pytest.raises(CheckpointCorrupt):
        load(checkpoint)
    # Whoever reads without verifying first, as an export does, gets no damaged byte either.
    with pytest.raises(CheckpointCorrupt):
        read_only(Checkpoint.at(checkpoint))


def test_the_checkpoint_holds_these_files_and_is_whole(original: Path) -> None:
    """The control: undamaged, it is read; it holds the files that are damaged below."""
    assert sorted(FILES) == sorted(each.name for each in newest(original).iterdir())
    load(newest(original))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_foreign_file_is_found(run: Path, name: str, tmp_path: Path) -> None:
    """A file that is gone, a directory, a link, or another checkpoint's is found."""
    path = newest(run) / name
    aside = tmp_path / "aside"
    path.rename(aside)
    must_be_found(newest(run))
    path.mkdir()
    must_be_found(newest(run))
    path.rmdir()
    path.symlink_to(aside)
    must_be_found(newest(run))
    path.unlink()
    other = Layout(run).checkpoints / "step-00000004" / name
    if other.exists():
        shutil.copy(other, path)
        if name == "manifest.json" or other.read_bytes() != aside.read_bytes():
            must_be_found(newest(run))


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
@pytest.mark.parametrize("name", ["manifest.json", "state.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_does_not_block(run: Path, name: str) -> None:
    """A file that would never end is not opened."""
    (newest(run) / name).unlink()
    os.mkfifo(newest(run) / name)
    must_be_found(newest(run))


def test_an_older_one_that_was_asked_for_gives_up_the_newer_ones(run: Path) -> None:
    """Going back sets the abandoned future aside without deleting it."""
    training = toy.build(run, str(Layout(run).checkpoints / "step-00000002"), save_every=0)
    assert 2 == training.run.position.step
    training.run.close()
    assert ["step-00000002"] == [each.name for each in Layout(run).checkpoints.iterdir()]
    assert 2 == len(list(Layout(run).superseded.iterdir()))


def test_foreign_things_are_left_alone(run: Path, original: Path, tmp_path: Path) -> None:
    """Another run's checkpoint, a file, and directories of other names survive saves and sweeps."""
    checkpoints = Layout(run).checkpoints
    other = toy.build(tmp_path / "other", save_every=8, keep=9, seed=8)
    toy.train(other, 8)
    other.run.close()
    shutil.copytree(tmp_path / "other/checkpoints/step-00000008", checkpoints / "step-00000008")
    (checkpoints / "notes.txt").write_text("mine", encoding="utf-8")
    for name in ("step-00000004-backup", "backup", ".step-12.tmp", ".something.tmp"):
        shutil.copytree(newest(run), checkpoints / name)
    training = toy.build(run, save_every=1, keep=1)
    assert (5, 2) == (training.run.position.step, training.run.position.samples)
    toy.train(training, 8)
    training.run.close()
    left = {each.name for each in checkpoints.iterdir()}
    foreign = {"notes.txt", "step-00000004-backup", "backup", ".step-12.tmp", ".something.tmp"}
    assert foreign <= left
    assert "step-00000008" in left - foreign
    # The other run's stood under a name that was needed: it was moved aside whole, not deleted.
    moved_aside = [each for each in Layout(run).superseded.iterdir() if "00000008" in each.name]
    assert [other.run.run_id] == [Checkpoint.at(each).manifest.run_id for each in moved_aside]


def test_what_an_interrupted_save_left_is_swept(run: Path) -> None:
    """Half-written and half-deleted checkpoints of ours are gone after the next start."""
    checkpoints = Layout(run).checkpoints
    for name in (".step-00000007.123.tmp", ".step-00000007+4.9.tmp", ".step-00000001.deleted"):
        shutil.copytree(newest(run), checkpoints / name)
    toy.build(run).run.close()
    assert [] == [each.name for each in checkpoints.iterdir() if each.name.startswith(".")]


def test_what_an_interrupted_replacement_left_is_swept(run: Path) -> None:
    """Small files that were being replaced leave nothing behind; files of other names stay."""
    for name in (".latest.77.tmp", ".run.json.77.tmp", ".probe.safetensors.77.tmp"):
        (run / name).write_text("half", encoding="utf-8")
    (run / ".notes.77.tmp").write_text("mine", encoding="utf-8")
    toy.build(run).run.close()
    assert [".notes.77.tmp"] == [each.name for each in run.glob("*.tmp")]


def test_a_directory_in_the_place_of_latest_costs_no_checkpoint(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`latest` is a hint: without it saves succeed, retention works, and the newest is found."""
    layout = Layout(run)
    layout.latest.unlink()
    layout.latest.mkdir()
    (layout.latest / "mine.txt").write_text("mine", encoding="utf-8")
    training = toy.build(run, save_every=1, keep=2)
    toy.train(training, 9)
    training.run.close()
    assert "Move the directory away" in caplog.text
    assert "SAVE FAILED" not in caplog.text
    assert 9 == toy.build(run).run.position.step
    assert ["mine.txt"] == [each.name for each in layout.latest.iterdir()]


def test_a_death_while_a_checkpoint_is_replaced_loses_nothing(run: Path) -> None:
    """Between hiding the old and naming the new one of the same position, the old one is found."""
    for name in ("step-00000002", "step-00000004"):
        shutil.rmtree(Layout(run).checkpoints / name)
    newest(run).rename(newest(run).with_name(".step-00000005+2.replaced"))
    training = toy.build(run)
    training.run.close()
    assert (5, 2) == (training.run.position.step, training.run.position.samples)
    load(newest(run))
