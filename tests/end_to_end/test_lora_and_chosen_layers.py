"""A training of adapters or of chosen layers, killed by SIGKILL, ends as the uninterrupted one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.tiny_base import TinyBase, write_tiny_base
from support.tiny_trainer import TinyTrainer, newest, require_equal, write_tiny_trainer

KILLED = -signal.SIGKILL
WAYS = {
    "adapters": ("--lora-rank", "4", "--lora-dropout", "0.2", "--ema-decay", "0.9"),
    "layers": ("--train-layers", "1,heads", "--precision", "bf16"),
}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> TinyBase:
    """Return a base, and a vocabulary that extends its own."""
    return write_tiny_base(trainer, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_training_ends_as_the_uninterrupted_one(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path, way: str
) -> None:
    """Losses, sample ids, adapters, their dropout, moments, average, frozen layers: to the last bit."""
    flags = (*map(str, base.flags), *WAYS[way], "--max-steps", "9")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    ended = trainer.run(whole, *flags)
    assert ended.returncode == 0, ended.stderr
    killed = trainer.run(cut, *flags, event="micro:6:3")
    assert killed.returncode == KILLED, killed.stderr
    resumed = trainer.run(cut, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "EXACT" in resumed.stdout
    require_equal(whole, cut)
    held = {name for name in newest(cut).manifest.leaves if name.startswith("optimizer.")}
    assert any("lora_B" in name if way == "adapters" else "gpt.h.1" in name for name in held)
    assert not any("base_layer" in name or "gpt.h.0.ln_1" in name for name in held)
