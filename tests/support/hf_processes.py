"""Trainings of `support.hf_training` in processes of their own, forked from one that has all imported."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from support.hf_training import child

PRELOADED = ["support.hf_training", "unbroken.run.run", "transformers.models.gpt2.modeling_gpt2"]


def context() -> Any:
    """Return what starts the processes."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return found


def run(processes: Any, directory: Path, **chosen: Any) -> int:
    """Train in a new process; return its exit code, which is minus the signal that killed it."""
    process = processes.Process(target=child, args=(directory, chosen))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return int(process.exitcode)


def result(directory: Path) -> dict[str, Any]:
    """Return what the training that ended last came to."""
    found: dict[str, Any] = json.loads(directory.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def same_training(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two trainings have the same weights, log and scores."""
    return all(one[name] == other[name] for name in ("weights", "steps", "loss", "best", "log"))
