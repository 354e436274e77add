"""The benchmarks of a resume and of a step run, and their parts add up."""

from __future__ import annotations

import json
from pathlib import Path

from support.benchmark_run import run_benchmark


def test_what_is_added_to_a_step_is_measured() -> None:
    """The journal line and what is looked at for it, each apart, and their sum."""
    printed = run_benchmark("step_cost.py", "--steps", "3")
    for name in (
        "RunRecord.step",
        "StepFingerprint.record",
        "StepFingerprint.summary",
        "all of it",
    ):
        assert f"{name} " in printed


def test_the_parts_of_a_resume_are_measured_beside_torch_load(tmp_path: Path) -> None:
    """On a small state: verifying, reading with the checks, and the probe, each apart."""
    file = tmp_path / "report.json"
    small = ("--gigabytes", "0.01", "--rounds", "1")
    printed = run_benchmark("resume.py", *small, "--json", str(file))
    report = json.loads(file.read_text(encoding="utf-8"))
    (ours,), (theirs,) = report["unbroken"], report["torch.load"]
    assert 0 < ours["probe"]
    assert 0 < ours["reading"] < ours["checks"] < ours["whole"]
    assert 0 < theirs
    for name in ("resume, without the probe", "the probe's forward pass", "torch.load"):
        assert name in printed
