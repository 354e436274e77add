"""The programs of `examples/`, as they stand: killed and started again they end with the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from support import preloaded
from support.dying import DYING

EXAMPLES = Path(__file__).parents[2] / "examples"


def started(name: str, place: Path, before: str = "") -> CompletedProcess[str]:
    """Run an example in a directory, after some other code."""
    code = f"{before}\n" + (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    if "num_workers" not in code:
        return preloaded.run_code(code, cwd=place)
    program = place / "program.py"  # workers that are forked need a program of their own
    program.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, program.name]
    return subprocess.run(
        command,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("plain", marks=pytest.mark.slow),
        "nanogpt_style",
        pytest.param("gan", marks=pytest.mark.slow),
        "accelerate_loop",
    ],
)
def test_killed_and_started_again_it_ends_with_the_same_weights(tmp_path: Path, name: str) -> None:
    """And prints the same on the way, from where it went on; every repeated step is exact."""
    if name == "accelerate_loop":
        pytest.importorskip("accelerate")
    for each in ("whole", "killed"):
        (tmp_path / each).mkdir()
    whole = started(name, tmp_path / "whole")
    assert 0 == whole.returncode, whole.stderr
    killed = started(name, tmp_path / "killed", DYING.format(at=13, by=9))
    assert -signal.SIGKILL == killed.returncode, killed.stderr
    resumed = started(name, tmp_path / "killed")
    assert 0 == resumed.returncode, resumed.stderr
    shown = resumed.stdout.splitlines()
    assert shown == whole.stdout.splitlines()[-len(shown) :]
    assert "[Replay] EXACT" in resumed.stderr
