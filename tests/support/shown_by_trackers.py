"""What trackers show of a run, read back from where they store it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from unbroken.trackers.wandb_file import history

Points = dict[str, list[tuple[int, float]]]
"""Steps and values by name, in the order in which they are stored."""


def of_tensorboard(shown: Path) -> tuple[int, Points]:
    """Return the number of runs and what TensorBoard shows, which leaves out what a purge hides."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (shown / "tensorboard").iterdir()
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    tags = read.Tags()
    points: Points = {
        tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in tags["scalars"]
    }
    for tag in tags["tensors"]:
        points[tag] = [(e.step, e.tensor_proto.float_val[0]) for e in read.Tensors(tag)]
    return 1, points


def of_wandb(shown: Path) -> tuple[int, Points]:
    """Return the number of ids, and the histories in the order in which `wandb sync` sends them."""
    points: Points = {}
    files = sorted((shown / "wandb").glob("offline-run-*/run-*.wandb"))
    for path in files:
        for step, values in history(path):
            for name, each in values.items():
                if not name.startswith("_"):
                    points.setdefault(name, []).append((step, float(json.loads(each))))
    return len({path.name for path in files}), points


def of_mlflow(shown: Path) -> tuple[int, Points]:
    """Return the number of runs in the experiment, and the histories of the last one."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(shown / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = runs[0].data.metrics
    histories = {name: client.get_metric_history(runs[0].info.run_id, name) for name in names}
    return len(runs), {
        name: [(each.step, each.value) for each in points] for name, points in histories.items()
    }


def of_trackio(shown: Path) -> tuple[int, Points]:
    """Return the number of runs in the project, and what its database has."""
    with closing(sqlite3.connect(shown / "trackio" / "tests.db")) as connection:
        rows = connection.execute(
            "SELECT run_id, step, metrics FROM metrics ORDER BY id"
        ).fetchall()
    points: Points = {}
    for _, step, metrics in rows:
        for name, each in json.loads(metrics).items():
            points.setdefault(name, []).append((step, float(each)))
    return len({each[0] for each in rows}), points


READERS: dict[str, Callable[[Path], tuple[int, Points]]] = {
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "mlflow": of_mlflow,
    "trackio": of_trackio,
}


def read_shown(kind: str, shown: Path) -> Points:
    """Return what a tracker shows, which has to be one run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        runs, points = READERS[kind](shown)
    assert 1 == runs
    return points
