"""Killed at each file event of its saves by a tool that nobody here wrote, every kind of training goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "support" / "chaos_program.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ckpt_chaos") is None, reason="needs ckpt-chaos"),
]


@pytest.mark.parametrize("kind", ["plain", "accelerate", "lightning", "transformers"])
def test_it_passes_at_every_file_event(tmp_path: Path, kind: str) -> None:
    """It ends with the bytes of the run that was not killed, whether a file is missing or torn."""
    pytest.importorskip("torch" if kind == "plain" else kind)
    command = [
        sys.executable, "-m", "ckpt_chaos", "run", "--work", str(tmp_path / "chaos"),
        "--result-file", "{out}/end.bin", "--step-regex", r"goes on at step (\d+)",
        "--max-points", "16", "--timeout", "300",
        "--", sys.executable, str(PROGRAM), kind, "{out}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=3000, check=False
    )
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"PASS", done.stdout)
    assert not re.search(r"HARD_FAIL|SILENT_DIVERGENCE", done.stdout)
