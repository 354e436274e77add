"""A training of adapters or of chosen layers, killed by SIGKILL, ends as the uninterrupted one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.tiny_base import TinyBase, write_tiny_base
from support.tiny_trainer import TinyTrainer, require_equal, run_program, write_tiny_trainer
from unbroken_tts.model.archive import read_archive

KILLED = -signal.SIGKILL
LORA = ("--lora-rank", "4", "--lora-dropout", "0.2", "--max-steps", "9")
CHOSEN = ("--train-layers", "1,heads", "--max-steps", "9")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> TinyBase:
    """Return a base, and a vocabulary that extends its own."""
    return write_tiny_base(trainer, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("chosen", [LORA, CHOSEN], ids=["lora", "layers"])
def test_a_killed_training_ends_as_the_uninterrupted_one(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    """Losses, sample ids, adapters, moments and frozen layers are equal to the last bit."""
    flags = (*map(str, base.flags), *chosen)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert trainer.run(whole, *flags).returncode == 0
    assert trainer.run(cut, *flags, event="micro:6:3").returncode == KILLED
    resumed = trainer.run(cut, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "EXACT" in resumed.stdout
    require_equal(whole, cut)
    exported = tmp_path / "gpt.pth"
    ended = run_program("export", cut, exported)
    assert ended.code == 0, ended.err
    found, before = read_archive(exported), read_archive(base.gpt)
    assert found.keys() == before.keys()
