"""Part 5: `benchmarks/replay_bounds.py` on the device."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from gpu_part import Note

SECONDS = 150
"""After which no further row is begun; a start of Python and the card is not in it."""


def measure(device: str, *, small: bool, note: Note) -> None:
    """Run it; keep its rows, and its table as it is printed."""
    few = ["--device", "cpu:0", "--seeds", "1", "--precision", "fp16", "--seconds", "0"]
    many = ["--device", device, "--seeds", "3", "--seconds", str(SECONDS)]
    script = Path(__file__).with_name("replay_bounds.py")
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "rows.json"
        words = [str(script), *(few if small else many), "--json", str(file)]
        with subprocess.Popen(
            [sys.executable, "-u", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if file.is_file():
                    note("measured", json.loads(file.read_text(encoding="utf-8")), [])
                note("lines", lines, [("", lines[-1])])
    if process.returncode:
        raise RuntimeError(f"replay_bounds.py ended with {process.returncode}")
