"""A training killed at any moment goes on as if it had never stopped: real processes, real SIGKILL."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.tiny_trainer import (
    STEPS,
    TinyTrainer,
    journal,
    leaf_digests,
    newest,
    require_equal,
    write_tiny_trainer,
)

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an uninterrupted training."""
    output = tmp_path_factory.mktemp("whole")
    done = trainer.run(output)
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.parametrize(
    "event",
    [
        "micro:0:0",  # before anything was trained
        "micro:6:0",  # the first step of the second epoch
        "micro:9:3",  # mid-epoch, inside an accumulation cycle
        "update:12",  # the last batch of an epoch, gradients complete, not applied
        "journal:18",  # the last step of an epoch is in the journal
        "validation:4",  # during the second validation
        "disk:12",  # during a save
    ],
)
def test_a_killed_training_ends_as_the_uninterrupted_one(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, event: str
) -> None:
    """Losses, sample ids, weights and optimiser state are equal to the last bit."""
    killed = trainer.run(tmp_path, event=event)
    assert killed.returncode == KILLED, killed.stderr
    resumed = trainer.run(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    require_equal(whole, tmp_path)


def test_killed_three_times_in_a_row_with_changing_workers(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """Neither the number of deaths nor the number of workers leaves a trace."""
    for event, workers in (("micro:5:3", "2"), ("micro:5:6", "none"), ("disk:9", "1")):
        killed = trainer.run(tmp_path, "--num-workers", workers, event=event)
        assert killed.returncode == KILLED, killed.stderr
    resumed = trainer.run(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    require_equal(whole, tmp_path)


def test_bfloat16_autocast_resumes_to_the_last_bit(trainer: TinyTrainer, tmp_path: Path) -> None:
    """What holds in float32 holds under autocast on the processor as well."""
    flags = ("--precision", "bf16", "--max-steps", "9")
    assert trainer.run(tmp_path / "whole", *flags).returncode == 0
    assert trainer.run(tmp_path / "cut", *flags, event="micro:6:3").returncode == KILLED
    assert trainer.run(tmp_path / "cut", *flags).returncode == 0
    require_equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGINT", 130)])
def test_a_stop_inside_a_step_keeps_the_partial_gradients(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, name: str, code: int
) -> None:
    """A stopped training saves inside the step, trains on a little, and goes on exactly."""
    stopped = trainer.run(tmp_path, event=f"stop:{name}:6:3")
    assert stopped.returncode == code, stopped.stderr
    checkpoint = newest(tmp_path)
    assert checkpoint.path.name == "step-00000006+6"
    assert "gradients.safetensors" in checkpoint.manifest.files
    assert max(journal(tmp_path)) > 6, "nothing was journalled for the next start to repeat"
    resumed = trainer.run(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    require_equal(whole, tmp_path)


def test_another_cut_at_the_same_effective_batch_uses_the_same_samples(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """A resume with another micro-batch keeps the step batches; only dropout masks differ."""
    assert trainer.run(tmp_path, event="micro:9:3").returncode == KILLED
    recut = trainer.run(tmp_path, "--batch-size", "5", "--grad-accumulation", "0")
    assert recut.returncode == 0, recut.stderr
    ours, theirs = journal(whole), journal(tmp_path)
    assert [ours[s]["sample_digest"] for s in range(1, STEPS + 1)] == [
        theirs[s]["sample_digest"] for s in range(1, STEPS + 1)
    ]
    assert [ours[s]["lr"] for s in ours] == [theirs[s]["lr"] for s in theirs]


def test_the_comparison_can_fail(trainer: TinyTrainer, whole: Path, tmp_path: Path) -> None:
    """Another seed gives another training: the equality above is not empty."""
    assert trainer.run(tmp_path, "--seed", "99").returncode == 0
    assert leaf_digests(whole) != leaf_digests(tmp_path)
    assert journal(whole)[1]["sample_digest"] != journal(tmp_path)[1]["sample_digest"]
