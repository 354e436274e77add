"""A benchmark run as a user runs it, in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support import preloaded

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, runpy, sys
source, script = sys.argv[1:3]
sys.argv[:2] = []
sys.argv[0] = script
sys.path[0] = os.path.dirname(script)
os.environ["PYTHONPATH"] = source
runpy.run_path(script, run_name="__main__")
"""
"""What `python SCRIPT` does, and the environment for the processes that it starts."""


def call_benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `benchmarks/NAME` with some arguments; return how it ended."""
    script = str(ROOT / "benchmarks" / name)
    return preloaded.run_code(SCRIPT, str(ROOT / "src"), script, *arguments)


def run_benchmark(name: str, *arguments: str) -> str:
    """Run `benchmarks/NAME` with some arguments; return what it printed.

    Raises:
        AssertionError: It failed.
    """
    done = call_benchmark(name, *arguments)
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
