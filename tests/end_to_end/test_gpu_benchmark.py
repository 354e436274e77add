"""A dry run of what is made for a card, on the processor, so that a card meets no typo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.benchmark_run import ROOT, call_benchmark, run_benchmark

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all parts but the bounds, in one process; return what each noted."""
    file = tmp_path_factory.mktemp("gpu") / "notes.json"
    run_benchmark("gpu_part.py", "all", "--device", "cpu", "--small", "--notes", str(file))
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, Any] = content["found"]
    return found


def require_a_killed_training_found_to_be_exact(notes: dict[str, Any]) -> None:
    """The first part kills, resumes, compares every tensor and line, and reads the verdict."""
    found = notes["resume: fp16 with a scaler"]
    assert found["exact"]
    assert found["leaves"] > 100
    assert (4, 3, 10) == (found["resumed from"], found["repeated"], found["journal lines"])


def test_a_difference_would_be_found() -> None:
    """One digest, one journal line or another verdict than EXACT is not called the same."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from gpu_resume import compared
    finally:
        sys.path.remove(str(BENCHMARKS))
    whole = {"digests": {"a": "1", "b": "2"}, "journal": {"1": {"loss": 1.0}}, "verdict": "EXACT"}
    same = whole | {"from": 4, "to_repeat": 3}
    assert compared(whole, same)["exact"]
    for name, other in (
        ("digests", {"a": "1", "b": "3"}),
        ("digests", {"a": "1"}),
        ("journal", {"1": {"loss": 1.5}}),
        ("verdict", "EQUIVALENT (…)"),
    ):
        assert not compared(whole, same | {name: other})["exact"]


def require_saves_and_speeds(notes: dict[str, Any]) -> None:
    """Each save has a stall and is durable later; each way of training has its figures."""
    assert len(notes["save: saves"]) == 4
    assert all(0 < each["stall"] < each["durable"] for each in notes["save: saves"])
    speeds = [notes[f"speed-{way}: speed"] for way in ("earlier", "present", "compiled")]
    assert len({each["tokens a round"] for each in speeds}) == 1
    # Not below 1: what a processor can do at best is measured, and in a busy moment it is little.
    assert all(each["utilisation"] > 0 for each in speeds)
    assert all(each["tokens a second"] > 0 for each in speeds)


def require_memory_that_runs_out(notes: dict[str, Any]) -> None:
    """Only steps without room are repeated in halves, and the bits are those of the same cuts."""
    found = notes["memory: halved"]
    assert found["same"]
    assert [[1, 4, 2], [4, 4, 2]] == found["halved"]
    assert {"1": 2, "2": 4, "3": 4, "4": 2} == found["cuts"]
    assert not found["as in one"]  # dropout masks follow the cut: the comparison can fail


def test_operations_are_counted_as_the_formula_says() -> None:
    """One sample of a small model, by hand: blocks, attention over the keys seen, and heads."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import numpy as np
        from gpu_flops import operations
        from gpu_training import TINY
        from length_mix import LengthMix
        from workload import Workload
    finally:
        sys.path.remove(str(BENCHMARKS))
    work = Workload(**TINY)
    counted = operations(
        work.config(), work.vocabulary, LengthMix(text=np.array([3]), codes=np.array([10]))
    )
    rows = 32 + 2 + 3 + 2 + 10 + 1
    assert counted.blocks == 6 * (12 * 32 * 32 * 2) * rows
    assert counted.attention == 12 * 32 * 2 * rows * (rows + 1) / 2
    assert counted.heads == 6 * 32 * (51 * 4 + 62 * 11)


@pytest.mark.slow
def test_the_whole_is_written_part_by_part(tmp_path: Path) -> None:
    """The command prints where figures come from, writes JSON, and names what it had no time for.

    What the bounds measured before their time was over is kept, and a bound follows from it.
    """
    file = tmp_path / "gpu.json"
    out = run_benchmark(
        "gpu.py", "--device", "cpu", "--small", "--part", "bounds", "--json", str(file)
    )
    report = json.loads(file.read_text(encoding="utf-8"))
    assert {"device", "torch", "date", "command", "python"} <= report["facts"].keys()
    assert ["done"] == [part["outcome"] for part in report["parts"]]
    assert "2.5 times the earlier trainer" in out
    (found,) = (part["found"] for part in report["parts"])
    assert {"precision": "fp16", "change": "nothing", "loss": 0.0, "gradient": 0.0}.items() <= (
        found["measured"]["rows"][0].items()
    )
    assert any("ended after its 0 s" in line for line in found["lines"])
    assert any("bound for nothing" in line for line in found["lines"])
    out = run_benchmark("gpu.py", "--device", "cpu", "--small", "--minutes", "0")
    assert out.count("skipped: no time left") == 2 * 8


def test_a_part_that_fails_leaves_its_traceback(tmp_path: Path) -> None:
    """On a device that isn't there a part ends with 1 and says why in what it notes."""
    file = tmp_path / "notes.json"
    done = call_benchmark("gpu_part.py", "memory", "--device", "cuda:99", "--notes", str(file))
    assert 1 == done.returncode
    assert "cuda:99" in json.loads(file.read_text(encoding="utf-8"))["trouble"]


@pytest.mark.slow
def test_each_part_notes_what_it_found(notes: dict[str, Any]) -> None:
    """All of it in one test: a benchmark is run once, however the tests are spread over processes."""
    require_a_killed_training_found_to_be_exact(notes)
    require_saves_and_speeds(notes)
    require_memory_that_runs_out(notes)
