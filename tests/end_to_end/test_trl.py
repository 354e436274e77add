"""Trainers of TRL, killed and started again, end with the weights and the log of one that nobody stopped.

TRL is no dependency of the tests: `make frameworks` runs this where it is installed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PROGRAM = """
import sys
from pathlib import Path
from support.trl_training import main
main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
"""


def start(kind: str, directory: Path, dies_at: int = 0) -> int:
    """Train in a process of its own; return its exit code."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1",
    }  # fmt: skip
    words = [sys.executable, "-c", PROGRAM, kind, str(directory), str(dies_at)]
    return subprocess.run(words, env=environment, check=False, timeout=280).returncode


def came_to(directory: Path) -> dict[str, Any]:
    """Return what a training came to."""
    found: dict[str, Any] = json.loads((directory / "came_to.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sft", "dpo, reference follows", "grpo, each generation twice"])
def test_killed_and_started_again(kind: str, tmp_path: Path) -> None:
    """What such a trainer keeps beside the model goes on: its counts, generations and reference."""
    assert 0 == start(kind, tmp_path / "whole")
    killed = tmp_path / "killed"
    assert -signal.SIGKILL == start(kind, killed, dies_at=5)
    assert 0 == start(kind, killed)
    whole, found = came_to(tmp_path / "whole"), came_to(killed)
    assert found["verdict"].startswith(("EXACT", "UNPROVED")), found["verdict"]
    assert whole["weights"] == found["weights"]
    assert whole["log"] == found["log"]
