"""A protected Trainer of transformers, as a process that is killed: the training never stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from transformers import GPT2LMHeadModel

from support import hf_processes
from support.hf_processes import result, run, same_training

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

EVALUATING: dict[str, Any] = {
    "num_train_epochs": 3, "eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True,
    "save_total_limit": 2, "lr_scheduler_type": "cosine", "warmup_steps": 2,
    "train_sampling_strategy": "group_by_length", "bf16": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def processes() -> Any:
    """Starts processes quickly."""
    return hf_processes.context()


def test_killed_stopped_and_resumed(processes: Any, tmp_path: Path) -> None:
    """Killed after a step, in an evaluation, stopped by SIGTERM: weights, log and scores are the same."""
    whole, place = tmp_path / "whole", tmp_path / "killed"
    assert 0 == run(processes, whole, **EVALUATING)
    assert -signal.SIGKILL == run(processes, place, kill=5, **EVALUATING)
    assert -signal.SIGKILL == run(processes, place, kill_in_evaluation=9, **EVALUATING)
    assert 75 == run(processes, place, stop=7, enable_jit_checkpoint=True, **EVALUATING)
    assert 0 == run(processes, place, **EVALUATING)
    assert same_training(result(whole), result(place))
    assert result(place)["verdict"].startswith("EXACT (2/2 steps")
    assert 7 == result(place)["resumed_at"]


def test_a_folder_is_whole_or_not_there(processes: Any, tmp_path: Path) -> None:
    """Killed when the model of a folder is written and nothing else: no folder; older ones load."""
    place = tmp_path / "killed"
    assert -signal.SIGKILL == run(processes, place, kill_in_folder=6)
    assert ["checkpoint-3"] == [each.name for each in place.glob("checkpoint-*")]
    GPT2LMHeadModel.from_pretrained(place / "checkpoint-3")
    assert 0 == run(processes, place)
    assert ["checkpoint-3", "checkpoint-6", "checkpoint-8"] == sorted(
        each.name for each in place.glob("checkpoint-*")
    )
    assert not (place / ".unbroken").exists() or not list((place / ".unbroken").iterdir())
