"""The benchmark of checkpoints runs, and what it restores is what was saved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.benchmark_run import run_benchmark

SAVES = {
    "unbroken", "torch.save", "torch.save + fsync", "earlier trainer's two",
    "safetensors + fsync", "torch dcp, synced",
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run `benchmarks/checkpoint.py` on a small state; return what it wrote."""
    file = tmp_path_factory.mktemp("benchmark") / "report.json"
    small = ("--gigabytes", "0.01", "--rounds", "1", "--steps", "1")
    run_benchmark("checkpoint.py", *small, "--json", str(file))
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def require_every_way_of_saving(report: dict[str, Any]) -> None:
    """Each way took some time, and none was complete before it let go."""
    assert set(report["save"]) == SAVES
    for saves in report["save"].values():
        assert 0 < saves[0]["times"]["stall"] <= saves[0]["times"]["total"]


def require_every_way_of_restoring(report: dict[str, Any]) -> None:
    """Warm and cold, each way restored the state that was saved, bit for bit."""
    assert set(report["restore"]["warm"]) == set(report["restore"]["cold"])
    assert {"unbroken", "torch.load weights_only"} < set(report["restore"]["warm"])
    assert report["restored bit for bit"]


def require_steps_alone_and_beside_each_writer(report: dict[str, Any]) -> None:
    """For each number of threads there are steps without a save and with one of each kind."""
    for segments in report["interference"].values():
        assert {"nothing", "unbroken", "unbroken, overlap", "torch.save thread"} == set(segments)
        assert all(
            each["steps"] and each["saves"] >= 1 for all_ in segments.values() for each in all_
        )


@pytest.mark.slow
def test_all_is_measured_and_what_is_restored_is_what_was_saved(report: dict[str, Any]) -> None:
    """All of it in one test: a benchmark is run once, however the tests are spread over processes."""
    require_every_way_of_saving(report)
    require_every_way_of_restoring(report)
    require_steps_alone_and_beside_each_writer(report)
