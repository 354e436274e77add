"""A protected Trainer of transformers, as a process that is killed: the training never stopped."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from transformers import GPT2LMHeadModel

from support import hf_processes
from support.hf_processes import result, run, same_training
from support.tiny_trainer import environment

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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_change_of_the_disk(processes: Any, tmp_path: Path, seed: int) -> None:
    """Again and again before a random change of the disk: it is always whole, and comes to its end."""
    whole, place = tmp_path / "whole", tmp_path / "killed"
    assert 0 == run(processes, whole, **EVALUATING)
    draw = random.Random(seed)  # noqa: S311  # of a test
    codes: list[int] = []
    while len(codes) < 12 and (not codes or codes[-1]):
        codes.append(run(processes, place, kill_at_change=draw.randrange(20, 260), **EVALUATING))
        for each in place.glob("checkpoint-*"):
            GPT2LMHeadModel.from_pretrained(each)
    if codes[-1]:
        assert 0 == run(processes, place, **EVALUATING)
    assert {-signal.SIGKILL} == set(codes) - {0}
    assert same_training(result(whole), result(place))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(processes: Any, tmp_path: Path, seed: int) -> None:
    """After random steps, in random evaluations, while random folders are written."""
    whole, place = tmp_path / "whole", tmp_path / "killed"
    assert 0 == run(processes, whole, **EVALUATING)
    draw = random.Random(seed)  # noqa: S311  # likewise
    for _ in range(6):
        where = draw.choice(["kill", "kill_in_evaluation", "kill_in_folder"])
        run(processes, place, **{where: draw.randrange(1, 13)}, **EVALUATING)
    assert 0 == run(processes, place, **EVALUATING)
    assert same_training(result(whole), result(place))


@pytest.mark.slow
def test_what_the_trainer_alone_loses(tmp_path: Path) -> None:
    """Without protect: other weights after a kill, and no start at all after one during a save."""
    program = Path(__file__).parents[1] / "support" / "hf_training.py"

    def start(place: str, **chosen: Any) -> subprocess.CompletedProcess[str]:
        given = [str(tmp_path / place), json.dumps({"stock": True, **EVALUATING, **chosen})]
        return subprocess.run(
            [sys.executable, str(program), *given],
            env=environment() | {"OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    whole, first = start("whole"), start("killed", kill=5)
    second, torn = start("killed"), start("torn", kill_in_folder=6)
    after = start("torn")
    assert [0, -9, 0, -9] == [each.returncode for each in (whole, first, second, torn)]
    weights = [json.loads(each.stdout.splitlines()[-1])["weights"] for each in (whole, second)]
    assert weights[0] != weights[1]
    assert 0 != after.returncode
    assert "No such file" in after.stderr
