"""The benchmarks of a resume and of a step run, and their parts add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_added_to_a_step_is_measured() -> None:
    """The journal line and what is looked at for it, each apart, and their sum."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/step_cost.py"), "--steps", "3"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    for name in ("Record.step", "Traces.take", "Traces.told", "all of it"):
        assert f"{name} " in done.stdout


def test_the_parts_of_a_resume_are_measured_beside_torch_load(tmp_path: Path) -> None:
    """On a small state: verifying, reading with the checks, and the probe, each apart."""
    file = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/resume.py"),
         "--gigabytes", "0.01", "--rounds", "1", "--json", str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    report = json.loads(file.read_text(encoding="utf-8"))
    (ours,), (theirs,) = report["unbroken"], report["torch.load"]
    assert 0 < ours["probe"]
    assert 0 < ours["reading"] < ours["checks"] < ours["whole"]
    assert 0 < theirs
    for name in ("resume, without the probe", "the probe's forward pass", "torch.load"):
        assert name in done.stdout
