"""The examples for several processes, under `torchrun` itself: a killed rank, and the group goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.dying import DYING

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
EXAMPLES = Path(__file__).parents[2] / "examples"
ON_THE_FIRST_RUN = """\
import os
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
{body}
"""
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(sys.path),
    "OMP_NUM_THREADS": "1",
    # Else a group that is started again finds addresses of the one before; see docs/distributed.md.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def torchrun(place: Path, name: str, count: int, before: str = "") -> str:
    """Run an example on some processes, after some other code; return what it printed."""
    place.mkdir(exist_ok=True)
    program = place / "program.py"
    program.write_text(f"{before}\n" + (EXAMPLES / f"{name}.py").read_text("utf-8"), "utf-8")
    words = ["--standalone", f"--nproc-per-node={count}", "--max-restarts=2", program.name]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=place,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("name", "count", "at"),
    [
        ("ddp", 2, 13),
        pytest.param("any_number_of_processes", 2, 13, marks=pytest.mark.slow),
        pytest.param("accelerate_loop", 3, 8, marks=pytest.mark.slow),
    ],
)
def test_a_killed_rank_is_started_again_and_nothing_shows(
    tmp_path: Path, name: str, count: int, at: int
) -> None:
    """Torchrun starts the whole group again; the run ends with the weights of one that nobody killed."""
    if name == "accelerate_loop":
        pytest.importorskip("accelerate")
    whole = torchrun(tmp_path / "whole", name, count)
    body = DYING.format(at=at, by=9).replace("\n", "\n    ")
    killed = torchrun(tmp_path / "killed", name, count, ON_THE_FIRST_RUN.format(body=f"    {body}"))
    assert whole.splitlines()[-1].startswith("weights: ")
    assert killed.splitlines()[-1] == whole.splitlines()[-1]
    starts = (tmp_path / "killed").glob("*_output/history.jsonl")
    assert next(starts).read_text("utf-8").count('"event": "start"') == 2
