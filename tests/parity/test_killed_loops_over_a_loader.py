"""Real processes that train over a loader with workers: killed at any moment, the training is the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from support import loader_training
from support.sameness import same

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def processes() -> Any:
    """Real processes, quickly: each is forked from one that has torch loaded and never trained."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.loader_training", "unbroken.run.run", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


def start(processes: Any, directory: Path, workers: int, *death: Any) -> int:
    """Start the training in a process of its own; return its exit code."""
    directory.mkdir(exist_ok=True)
    process = processes.Process(target=loader_training.child, args=(directory, workers, *death))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return int(process.exitcode)


def end_of(directory: Path) -> Any:
    """Return the state with which a training has ended."""
    return torch.load(directory / "end.pt", weights_only=True)


@pytest.fixture(scope="module")
def whole(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The end of the training that nobody stopped."""
    directory = tmp_path_factory.mktemp("whole")
    assert 0 == start(processes, directory, 0)
    return end_of(directory)


def verdicts(directory: Path) -> list[str]:
    """Return what the replays of a run came to."""
    lines = [json.loads(each) for each in (directory / "history.jsonl").read_text().splitlines()]
    return [each["verdict"] for each in lines if each["event"] == "replay"]


@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param([(2, "batch", 3, signal.SIGKILL)], marks=pytest.mark.slow),
        [(0, "update", 3, signal.SIGKILL), (2, "batch", 9, signal.SIGKILL)],
        pytest.param(
            [(1, "work", 1, signal.SIGKILL), (0, "work", 2, signal.SIGKILL)], marks=pytest.mark.slow
        ),
        [(2, "update", 4, signal.SIGTERM), (0, "batch", 6, signal.SIGTERM)],
    ],
    ids=["before a save", "gathering, then in a later epoch", "in the epoch's work", "stopped"],
)
def test_killed_and_started_again_it_is_the_same_training(
    processes: Any, tmp_path: Path, whole: Any, deaths: list[tuple[int, str, int, int]]
) -> None:
    """Also with another number of workers; every replay is exact."""
    for workers, event, at, number in deaths:
        expected = 75 if number == signal.SIGTERM else -signal.SIGKILL
        assert expected == start(processes, tmp_path, workers, event, at, number)
    assert 0 == start(processes, tmp_path, 1)
    assert same(whole, end_of(tmp_path))
    assert {"EXACT"} == set(verdicts(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_eight_times_at_random(
    processes: Any, tmp_path: Path, whole: Any, seed: int
) -> None:
    """Whatever it was doing, and whoever read its data."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(8):
        event, at = chance.choice(["batch", "update", "work"]), chance.randint(1, 6)
        start(processes, tmp_path, chance.choice([0, 1, 2]), event, at, signal.SIGKILL)
    assert 0 == start(processes, tmp_path, 0)
    assert same(whole, end_of(tmp_path))
    assert set(verdicts(tmp_path)) <= {"EXACT", "UNPROVED"}
