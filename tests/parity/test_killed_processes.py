"""Real processes, killed or stopped by signals at any position, leave the training whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from support import toy_training as toy
from support.evidence import journal_of, state_on_disk, uninterrupted
from support.preloaded import PRELOADED
from support.sameness import same

UNTIL = 9

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[int, Any]]:
    """State and journal of the training that nobody stopped."""
    return uninterrupted(tmp_path_factory.mktemp("whole"), UNTIL)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Real processes, quickly: each is forked from one that has torch loaded and never trained."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "support.toy_training"])  # one server for all tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


def run_child(processes: Any, directory: Path, *death: Any) -> int:
    arguments = (directory, UNTIL, *(death or ("", 0, 0)))
    process = processes.Process(target=toy.child, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return int(process.exitcode)


@posix
@pytest.mark.parametrize(
    "deaths",
    [
        [("SIGKILL", 0, 0)],
        [("SIGKILL", 0, 2)],
        [("SIGKILL", 3, 4)],
        [("SIGKILL", 5, 0)],
        [("SIGKILL", 5, 4)],
        [("SIGKILL", 2, 2), ("SIGKILL", 4, 2), ("SIGKILL", 8, 2)],
        [("SIGTERM", 0, 0)],
        [("SIGTERM", 5, 2)],
        [("SIGUSR1", 3, 2)],
        [("SIGINT", 4, 0)],
        [("SIGINT", 6, 4)],
        [("SIGTERM", 1, 2), ("SIGKILL", 4, 2), ("SIGINT", 7, 2)],
    ],
    ids=lambda deaths: "-".join(f"{name}@{step}+{samples}" for name, step, samples in deaths),
)
def test_killed_processes_leave_the_training_whole(
    tmp_path: Path, whole: tuple[Any, Any], processes: Any, deaths: list[tuple[str, int, int]]
) -> None:
    """Killed or stopped by signals, at any position and repeatedly, the training is the same."""
    for name, step, samples in deaths:
        expected = {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}.get(name, 75)
        assert expected == run_child(processes, tmp_path, name, step, samples)
    assert 0 == run_child(processes, tmp_path)
    assert same(whole, (state_on_disk(tmp_path, UNTIL), journal_of(tmp_path)))


@posix
def test_killed_as_a_program_of_its_own(tmp_path: Path, whole: tuple[Any, Any]) -> None:
    """A program started from nothing, killed and started again, ends with the same bits."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    codes = []
    for death in (["SIGKILL", "5", "2"], ["", "0", "0"]):
        command = [sys.executable, str(toy.__file__), str(tmp_path), str(UNTIL), *death]
        codes.append(subprocess.run(command, check=False, env=environment, timeout=120).returncode)
    assert [-signal.SIGKILL, 0] == codes
    assert same(whole, (state_on_disk(tmp_path, UNTIL), journal_of(tmp_path)))
