"""`benchmarks/processes.py`, small: the command that the docs name runs, and prints a row for each number."""

from __future__ import annotations

import sys

import pytest

from support.benchmark_run import run_benchmark

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="gloo over files"),
]


def test_it_prints_a_row_for_each_number() -> None:
    """Of one process, few steps."""
    printed = run_benchmark("processes.py", "--counts", "1", "--steps", "5")
    assert "| 1 | " in printed
