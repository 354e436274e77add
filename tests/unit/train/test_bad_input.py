"""What can't be trained is said in three sentences with exit code 2, and nothing is written over."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pairs import write_tokenizer
from support.tiny_base import write_tiny_base
from support.tiny_trainer import TinyTrainer, contents, newest, require_equal


@pytest.fixture(scope="module")
def stopped(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that stands in the output directory."""
    output = tmp_path_factory.mktemp("stopped")
    trainer.stop(output, "--max-steps", 2, at=1)
    return output


def empty(path: Path) -> Path:
    """Write an empty file."""
    path.write_text("\n\n", encoding="utf-8")
    return path


def faulty(kind: str, trainer: TinyTrainer, folder: Path) -> tuple[list[object], str]:
    """Return the flags of a faulty command and a word its message must hold."""
    flags: dict[str, tuple[list[object], str]] = {
        "missing train manifest": (["--train-manifest", folder / "no.jsonl"], "no.jsonl"),
        "missing val manifest": (["--val-manifest", folder / "no.jsonl"], "no.jsonl"),
        "empty manifest": (["--train-manifest", empty(folder / "empty.jsonl")], "empty.jsonl"),
        "missing tokenizer": (["--tokenizer", folder / "no.model"], "no.model"),
        "damaged tokenizer": (["--tokenizer", empty(folder / "bad.model")], "bad.model"),
        "too small a tokenizer": (
            ["--tokenizer", write_tokenizer(folder / "small.model", 20)],
            "id outside vocabulary",
        ),
        "unknown flag": (["--learning-rat", "1"], "--learning-rate"),
        "negative rate": (["--learning-rate", "-1"], "--learning-rate"),
        "no number": (["--batch-size", "many"], "--batch-size"),
        "infinite": (["--learning-rate", "inf"], "--learning-rate"),
        "missing config": (["--config", folder / "no.yaml"], "no.yaml"),
        "damaged config": (["--config", empty(folder / "bad.yaml")], "bad.yaml"),
        "missing base": (["--base-checkpoint", folder / "no.pth"], "no.pth"),
        "damaged base": (["--base-checkpoint", empty(folder / "bad.pth")], "bad.pth"),
        "base is a directory": (["--base-checkpoint", folder], str(folder)),
        "missing init": (["--init-from", folder / "no.pth"], "no.pth"),
    }
    if kind == "base of another shape":
        base = write_tiny_base(trainer, folder)
        text = (trainer.root / "config.yaml").read_text("utf-8")
        (folder / "wide.yaml").write_text(text.replace("model_dim: 16", "model_dim: 32"), "utf-8")
        data = [("--train-manifest", "train"), ("--val-manifest", "val")]
        from support.pairs import write_pairs

        for _, split in data:
            write_pairs(folder / "wide", 12, split=split, model_dim=32)
        wide = [w for f, s in data for w in (f, folder / f"wide/{s}_pairs.jsonl")]
        return [
            "--base-checkpoint", base.gpt, "--config", folder / "wide.yaml", *wide
        ], "does not fit the configuration"  # fmt: skip
    return flags[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "missing train manifest", "missing val manifest", "empty manifest", "missing tokenizer",
        "damaged tokenizer", "too small a tokenizer", "unknown flag", "negative rate", "no number",
        "infinite", "missing config", "damaged config", "missing base", "damaged base",
        "base is a directory", "missing init", "base of another shape",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["empty", "run"])
def test_bad_input_is_exit_code_2_and_changes_nothing(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path, kind: str, place: str
) -> None:
    """One clear message; a run that stands there is not moved, an empty place gets no run."""
    flags, word = faulty(kind, trainer, tmp_path)
    output = stopped if place == "run" else tmp_path / "output"
    before = contents(output)
    ended = trainer.start(output, "--max-steps", 2, *flags, resume="")
    assert ended.code == 2, ended.out + ended.err
    assert word in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) >= 3
    assert "Traceback" not in ended.err
    assert before == contents(output)


@pytest.mark.parametrize("where", ["a file", "below a file", "not writable"])
def test_an_output_directory_that_cannot_be_is_said_first(
    trainer: TinyTrainer, tmp_path: Path, where: str
) -> None:
    """A file in the way, or a directory nobody may write to."""
    (tmp_path / "file").write_text("precious")
    places = {"a file": "file", "below a file": "file/run", "not writable": "/proc/unbroken"}
    if where == "not writable" and not Path("/proc").is_dir():
        pytest.skip("needs /proc, which not even root can write to")
    ended = trainer.start(tmp_path / places[where])
    assert ended.code == 2, ended.err
    assert "--output-dir" in ended.err
    assert (tmp_path / "file").read_text() == "precious"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of sixteen megabytes; only root on Linux can."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("needs a file system of its own, which only root can mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk up to some bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler = disk / "filler"
    with filler.open("ab") as file:
        file.write(bytes(max(0, free - leave)))
    return filler


def test_a_full_disk_costs_no_checkpoint(
    trainer: TinyTrainer, whole: Path, small_disk: Path
) -> None:
    """Exit code 5 with the last checkpoint whole; with space again the run goes on exactly."""
    output = small_disk / "run"
    trainer.stop(output, at=9)
    last = newest(output)
    filler = fill(small_disk, leave=60_000)
    ended = trainer.start(output, "--max-lost-minutes", 0)
    assert ended.code == 5, ended.out + ended.err
    assert "Traceback" not in ended.err
    newest(output).verify()
    assert newest(output).path.name >= last.path.name
    filler.unlink()
    again = trainer.start(output)
    assert again.code == 0, again.err
    require_equal(whole, output)


def test_a_disk_full_to_the_last_byte_costs_nothing_either(
    trainer: TinyTrainer, whole: Path, small_disk: Path
) -> None:
    """Where not even a line of the journal can be written, what was saved stays and is enough."""
    output = small_disk / "run"
    trainer.stop(output, at=9)
    filler = fill(small_disk, leave=0)
    ended = trainer.start(output)
    assert ended.code in {2, 5}, ended.out + ended.err
    assert "Traceback" not in ended.err
    newest(output).verify()
    filler.unlink()
    again = trainer.start(output)
    assert again.code == 0, again.err
    require_equal(whole, output)
