"""The benchmark of loops over a loader runs, and its tables have all their rows."""

from __future__ import annotations

import pytest

from support.benchmark_run import run_benchmark

pytestmark = pytest.mark.slow


def rows(part: str) -> list[str]:
    """Return the first cells of the table of a part, of a run that is as short as can be."""
    printed = run_benchmark("loops.py", "--batches", "2", "--part", part).splitlines()
    return [each[2:].partition(" | ")[0] for each in printed if each.startswith("| ")][2:]


def test_loops_are_measured_beside_themselves_unprotected() -> None:
    """Each kind of data set, and the decorator."""
    assert ["tensors", "augmented", "augmented", "tensors, `@unbroken.protect`"] == rows("loops")


def test_start_and_memory_are_measured() -> None:
    """Of a few batches one row."""
    assert ["tensors"] == rows("starts")


def test_the_saves_of_frameworks_are_measured() -> None:
    """Three frameworks, and the Trainer with its own folders beside the run's."""
    found = [each.partition(",")[0] for each in rows("saves")]
    assert ["Accelerate", "Lightning", "Trainer", "the same"] == found
