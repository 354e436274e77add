"""`--track`: a training is shown as one run over all starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.shown_by_trackers import of_mlflow
from support.tiny_trainer import STEPS, TinyTrainer, write_tiny_trainer
from unbroken.journal.journal import last_line_of_each_step

FLAGS = ("--track", "mlflow", "--track-project", "tests")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


def test_a_training_that_is_stopped_inside_a_step_is_one_run(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name of its curves, with each step once and each validation."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    output = tmp_path / "run"
    trainer.stop(output, *FLAGS, at=9, samples=3)
    ended = trainer.start(output, *FLAGS)
    assert 0 == ended.code
    assert not ended.lines("WARNING: TRACKER")
    runs, points = of_mlflow(tmp_path)
    assert 1 == runs
    lines = last_line_of_each_step(output / "journal.jsonl")
    assert [(step, lines[step]["mel_loss"]) for step in range(1, STEPS + 1)] == points[
        "train/mel_loss"
    ]
    assert [5, 10, 15, 20, STEPS] == [step for step, _ in points["val_loss"]]
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    (curves,) = (each.name for each in (output / "logs").iterdir() if each.is_dir())
    assert curves == run.info.run_name
    assert "FINISHED" == run.info.status


def test_a_package_that_is_missing_ends_the_command_before_it_writes(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "trackio", None)
    ended = trainer.start(tmp_path / "run", "--track", "trackio")
    assert 2 == ended.code
    assert "python -m pip install trackio" in ended.err
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_tracker_that_is_not_known_is_refused_with_those_that_are(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """By the name of the flag."""
    ended = trainer.start(tmp_path / "run", "--track", "comet")
    assert 2 == ended.code
    assert "--track" in ended.err
    assert "one of wandb, mlflow, trackio" in ended.err
