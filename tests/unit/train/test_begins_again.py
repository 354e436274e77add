"""The trainer, killed before its first save: another command is met as at any resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.tiny_trainer import TinyTrainer


@pytest.fixture(scope="module")
def killed(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a training that was killed after three steps, saved none."""
    output = tmp_path_factory.mktemp("killed")
    trainer.stop(output, "--val-interval", "0", at=3)
    shutil.rmtree(output / "checkpoints")
    (output / "latest").unlink()
    lines = (output / "history.jsonl").read_text("utf-8").splitlines(keepends=True)
    (output / "history.jsonl").write_text(lines[0], encoding="utf-8")
    return output


@pytest.fixture
def output(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "out"))


def test_the_same_command_begins_again(trainer: TinyTrainer, output: Path) -> None:
    """Every fact agrees, and the repeated steps are exact."""
    trainer.stop(output, "--val-interval", "0", at=5)
    log = (output / "logs/console.log").read_text("utf-8")
    assert "Began again run" in log
    assert "[Replay] EXACT" in log


def test_another_rate_is_refused_and_can_be_accepted(trainer: TinyTrainer, output: Path) -> None:
    """Exit code 3, with the command that goes on; with it, the new rate acts."""
    ended = trainer.start(output, "--learning-rate", "0.001")
    assert 3 == ended.code
    assert "settings.learning_rate is 0.001, was 0.003" in ended.out
    assert "--accept settings-unchanged" in ended.out
    trainer.stop(output, "--learning-rate", "0.001", "--accept", "settings-unchanged", at=2)


def test_other_data_are_refused(trainer: TinyTrainer, output: Path) -> None:
    """It can't be accepted; a new run can begin, and the command for that is given."""
    lines = (trainer.root / "data/train_pairs.jsonl").read_bytes().splitlines(keepends=True)
    fewer = trainer.root / "data/fewer_pairs.jsonl"
    fewer.write_bytes(b"".join(lines[:-1]))
    ended = trainer.start(output, "--train-manifest", str(fewer))
    fewer.unlink()
    assert 3 == ended.code
    assert "data.train is" in ended.out
    assert "To go on" in ended.out
    assert not (output / "earlier").exists()
