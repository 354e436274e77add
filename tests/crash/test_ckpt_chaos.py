"""Killed at each file event of its saves by a tool that nobody here wrote, every kind of training goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.tiny_trainer import write_tiny_trainer

PROGRAM = Path(__file__).parents[1] / "support" / "chaos_program.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ckpt_chaos") is None, reason="needs ckpt-chaos"),
]


def flags_of_trainer(place: Path) -> list[str]:
    """Write the files of a tiny training, and return its flags but for the directory of the run."""
    trainer = write_tiny_trainer(place)
    flags = trainer.flags(place / "unused", "--max-steps", "8")
    at = flags.index("--output-dir")
    return flags[:at] + flags[at + 2 :]


@pytest.mark.parametrize(
    "kind", ["plain", "unchanged", "trainer", "accelerate", "lightning", "transformers"]
)
def test_it_passes_at_every_file_event(tmp_path: Path, kind: str) -> None:
    """It ends with the bytes of the run that was not killed, whether a file is missing or torn."""
    if kind in ("accelerate", "lightning", "transformers"):
        pytest.importorskip(kind)
    command = [
        sys.executable, "-m", "ckpt_chaos", "run", "--work", str(tmp_path / "chaos"),
        "--result-file", "{out}/end.bin", "--step-regex", r"goes on at step (\d+)",
        "--max-points", "16", "--timeout", "300",
        "--", sys.executable, str(PROGRAM), kind, "{out}",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "CHAOS_FLAGS": json.dumps(flags_of_trainer(tmp_path) if kind == "trainer" else []),
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=3000, check=False
    )
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"PASS", done.stdout)
    assert not re.search(r"HARD_FAIL|SILENT_DIVERGENCE", done.stdout)
