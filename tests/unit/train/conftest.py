"""One tiny training for all tests of the trainer, and one that was never interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_trainer import TinyTrainer, write_tiny_trainer


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training; nobody changes them."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def whole(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an uninterrupted training; nobody changes it."""
    output = tmp_path_factory.mktemp("whole")
    ended = trainer.start(output)
    assert ended.code == 0, ended.err
    (output / "stdout.txt").write_text(ended.out, encoding="utf-8")
    return output
