"""What must not change a training: how it is cut, how often it is validated, what it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny_trainer import (
    STEPS,
    TinyTrainer,
    contents,
    journal,
    leaf_digests,
    newest,
    require_equal,
)
from unbroken.journal.journal import read_lines
from unbroken_tts.train import loader, validation


def validations(output: Path) -> list[dict[str, Any]]:
    """Return what the history says of validations."""
    lines = read_lines(output / "history.jsonl")
    return [line for line in lines if line.get("event") == "validation"]


@pytest.mark.parametrize("cut", [(1, 9), (4, 3), (9, 1)])
def test_the_cut_changes_nothing_beyond_rounding(
    trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory, cut: tuple[int, int]
) -> None:
    """Without dropout, micro-batches of any size give the same losses, norms and samples."""
    flags = ("--dropout", 0, "--max-steps", 8, "--val-interval", 8)
    known = trainer.root / "uncut"
    if not known.exists():
        assert trainer.start(known, *flags).code == 0
    other = tmp_path_factory.mktemp("cut")
    sizes = ("--batch-size", cut[0], "--grad-accumulation", cut[1] if cut[0] != 4 else 0)
    if cut[0] == 4:
        # Four don't divide nine: only a resume cuts a run's step batch like that.
        trainer.stop(other, *flags, at=0, samples=0)
    ended = trainer.start(other, *flags, *sizes)
    assert ended.code == 0, ended.err[-1500:]
    ours, theirs = journal(known), journal(other)
    assert sorted(ours) == sorted(theirs)
    for step, line in ours.items():
        assert line["sample_digest"] == theirs[step]["sample_digest"]
        for name in ("loss", "text_loss", "mel_loss", "mel_top1", "grad_norm"):
            assert line[name] == pytest.approx(theirs[step][name], rel=1e-5, abs=1e-6), name


def test_validating_more_often_changes_nothing(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """The journal and every weight are the same to the last bit."""
    flags = ("--val-interval", 1, "--no-keep-best", "--max-val-batches", 1)
    assert trainer.start(tmp_path, *flags).code == 0
    assert len(validations(tmp_path)) == STEPS
    assert journal(whole) == journal(tmp_path)
    assert leaf_digests(whole) == leaf_digests(tmp_path)


def test_a_validation_does_not_depend_on_its_batch_size(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """Means over tokens, in whatever batches."""
    assert trainer.start(tmp_path, "--val-batch-size", 1).code == 0
    ours, theirs = validations(whole), validations(tmp_path)
    assert [5, 10, 15, 20, 22] == [each["step"] for each in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("text_loss", "mel_loss", "mel_top1"):
            assert mine[name] == pytest.approx(other[name], rel=1e-6), name


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        torch.OutOfMemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["ctrl-c", "torch", "cublas"],
)
def test_an_error_inside_a_validation_leaves_no_trace(
    trainer: TinyTrainer,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """The start ends, the run is as it was, and goes on exactly."""
    original = loader.validation_batches

    def failing(*args: Any) -> Iterator[Any]:
        for number, batch in enumerate(original(*args)):
            if number == 1:
                raise error
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(validation, "validation_batches", failing)
        ended = trainer.start(tmp_path)
    assert ended.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert ("--batch-size 1" in ended.err) == isinstance(error, RuntimeError)
    assert trainer.start(tmp_path).code == 0
    require_equal(whole, tmp_path)


def test_the_best_checkpoint_stays_beside_the_newest(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one to keep, the best is kept as well, and its score survives a resume."""
    scores = iter([3.0, 1.0, 2.0, math.nan, 1.5])
    monkeypatch.setattr(validation.Validation, "loss_of", lambda _self, _scores: next(scores))
    flags = ("--keep-checkpoints", 1)
    trainer.stop(tmp_path, *flags, at=13)
    trainer.stop(tmp_path, *flags, at=16)
    ended = trainer.start(tmp_path, *flags)
    assert ended.code == 0, ended.err
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert {"step-00000010", f"step-{STEPS:08d}"} == kept
    best = newest(tmp_path).part("best")
    assert best == {"loss": 1.0, "step": 10, "validated_step": STEPS}
    assert not any("best so far" in line for line in ended.lines("[Val]"))


def test_a_stop_before_the_first_step_of_a_run_is_saved(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """A request that comes before anything was trained ends by 75 and loses nothing."""
    trainer.stop(tmp_path, at=0)
    assert trainer.start(tmp_path).code == 0
    require_equal(whole, tmp_path)


def test_a_stop_file_stops(trainer: TinyTrainer, whole: Path, tmp_path: Path) -> None:
    """As soon as the file exists the run saves and ends by 75; without it, it goes on exactly."""
    flag = tmp_path / "stop"
    flag.write_text("")
    ended = trainer.start(tmp_path / "run", "--stop-file", flag)
    assert ended.code == 75
    assert f"Stopped by the file {flag}" in ended.err
    flag.unlink()
    assert trainer.start(tmp_path / "run", "--stop-file", flag).code == 0
    require_equal(whole, tmp_path / "run")


def test_the_grace_ends_the_steps_after_a_stop(trainer: TinyTrainer, tmp_path: Path) -> None:
    """Without grace nothing is trained after the save."""
    trainer.stop(tmp_path, "--grace-seconds", 0, at=6)
    assert max(journal(tmp_path)) == newest(tmp_path).position.step == 6


def test_nothing_is_written_beside_the_run(trainer: TinyTrainer, whole: Path) -> None:
    """The data, the tokenizer and the configuration are only read."""
    names = {name.split("/")[0] for name in contents(trainer.root) if "uncut" not in name}
    assert {"data", "tok.model", "config.yaml"} == names
    assert {"run.json", "latest", "journal.jsonl", "history.jsonl", "checkpoints", "logs", "base", "probe.safetensors",
            "start.json",            "stdout.txt"} == {name.split("/")[0] for name in contents(whole)}  # fmt: skip


def test_validation_is_due_on_multiples_and_epochs() -> None:
    """An interval of 0 is an epoch; before the first step nothing is due."""
    assert [4, 8] == [step for step in range(10) if validation.is_due(step, 4, 3)]
    assert [3, 6, 9] == [step for step in range(10) if validation.is_due(step, 0, 3)]
