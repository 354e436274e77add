"""What is not finite stops the run before the update, or is left out and recorded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unbroken
from support.pairs import write_pairs
from support.tiny_trainer import TinyTrainer, contents, journal, newest
from unbroken.journal.journal import last_line_of_each_step, read_lines
from unbroken_tts.model.gpt import VoiceGpt

BAD_STEPS = {5: (1,), 6: (0,)}
"""Number of the step, and which of its three micro-batches are poisoned."""


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the losses of some micro-batches be NaN, as an overflow in the forward pass would."""
    from unbroken_tts.train import loop

    original = loop.train_micro_batch

    def train_micro_batch(session: Any, step: Any, totals: Any, batch: Any, size: int) -> None:
        forward = VoiceGpt.forward
        poison = step.samples_done // 3 in BAD_STEPS.get(step.number, ())

        def spoilt(model: Any, *args: Any, **kwargs: Any) -> Any:
            sums = forward(model, *args, **kwargs)
            return type(sums)(**{
                name: getattr(sums, name) * (math.nan if poison and "loss" in name else 1)
                for name in sums.__dataclass_fields__
            })  # fmt: skip

        with monkeypatch.context() as patch:
            patch.setattr(VoiceGpt, "forward", spoilt)
            original(session, step, totals, batch, size)

    monkeypatch.setattr(loop, "train_micro_batch", train_micro_batch)


@pytest.mark.usefixtures("poisoned")
def test_it_stops_before_the_update(trainer: TinyTrainer, tmp_path: Path, whole: Path) -> None:
    """Exit code 6, the samples named, the last checkpoint as it was."""
    ended = trainer.start(tmp_path)
    assert ended.code == 6
    assert "Step 5 is not finite: loss=nan" in ended.err
    ids = [line for line in ended.err.splitlines() if "Its samples: " in line]
    assert ids[0].count("train_") == 2 * 9, "nine pair ids, each of two utterances"
    assert newest(tmp_path).position.step == 4
    assert max(journal(tmp_path)) == 4
    assert {step: line for step, line in journal(whole).items() if step < 5} == journal(tmp_path)


@pytest.mark.usefixtures("poisoned")
def test_skip_records_and_goes_on(trainer: TinyTrainer, tmp_path: Path, whole: Path) -> None:
    """Skipped steps count as steps, not as updates; the schedule waits; averages leave them out."""
    ended = trainer.start(tmp_path, "--on-nonfinite", "skip")
    assert ended.code == 0, ended.err
    lines, others = journal(tmp_path), journal(whole)
    assert set(BAD_STEPS) == {step for step, line in lines.items() if line.get("skipped")}
    assert lines[5]["loss"] == "nan"
    assert [4, 4, 4, 5] == [lines[step]["updates"] for step in (4, 5, 6, 7)]
    assert lines[7]["lr"] == lines[5]["lr"] == others[5]["lr"]
    assert [each["sample_digest"] for each in lines.values()] == [
        each["sample_digest"] for each in others.values()
    ]
    assert newest(tmp_path).part("scheduler")["updates"] == 20
    assert "nan" not in "".join(ended.lines("[Train]"))
    assert "20 updates" in ended.lines("Training complete")[0]


@pytest.mark.usefixtures("poisoned")
def test_a_skipping_run_resumes_exactly(trainer: TinyTrainer, tmp_path: Path) -> None:
    """What was skipped is skipped again, and the printed averages are the same."""
    assert trainer.start(tmp_path / "whole", "--on-nonfinite", "skip").code == 0
    trainer.stop(tmp_path / "cut", "--on-nonfinite", "skip", at=6, samples=3)
    assert trainer.start(tmp_path / "cut", "--on-nonfinite", "skip").code == 0
    assert journal(tmp_path / "whole") == journal(tmp_path / "cut")


def test_an_exploded_training_stops(trainer: TinyTrainer, tmp_path: Path) -> None:
    """A learning rate beyond sense ends by exit code 6, with finite weights in the checkpoint."""
    ended = trainer.start(tmp_path, "--learning-rate", 1e30, "--save-interval", 1)
    assert ended.code == 6, ended.err
    for line in read_lines(tmp_path / "journal.jsonl"):
        assert not isinstance(line["loss"], str)
    before = contents(tmp_path / "checkpoints")
    assert trainer.start(tmp_path, "--learning-rate", 1e30).code == 6
    assert before == contents(tmp_path / "checkpoints")


def test_nan_in_an_array_is_found_before_the_first_step(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """The preflight names the file; nothing is begun."""
    manifest = write_pairs(tmp_path / "data", 44, split="train")
    bad = tmp_path / "data/features/condition/train_00003.npy"
    array = np.load(bad)
    array[2, 3] = np.nan
    np.save(bad, array)
    ended = trainer.start(tmp_path / "run", "--train-manifest", manifest)
    assert ended.code == 2
    assert "train_00003.npy" in ended.err
    assert not (tmp_path / "run/run.json").exists()


def scaled_training(directory: Path, inf_at: int) -> tuple[unbroken.Run, torch.amp.GradScaler]:
    """Train five steps with a gradient scaler on the processor, one of them with an overflow."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = unbroken.Schedule(optimizer, unbroken.warmup_cosine(2, 9), {"total": 9})
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches([f"s{i}" for i in range(8)], None, 4, 1),
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        scaler=scaler,
    )
    run.resume()
    for step in run.steps(5):
        for micro in step.micro_batches(2):
            loss = model(torch.ones(len(micro.indices), 3)).square().sum() / 4
            step.backward(loss)
            if step.number == inf_at:
                assert model.weight.grad is not None
                model.weight.grad.fill_(math.inf)
        before = model.weight.detach().clone()
        result = step.update(clip_norm=1.0)
        assert result.skipped == (step.number == inf_at)
        assert torch.equal(before, model.weight) == result.skipped
    run.close()
    return run, scaler


def test_an_update_skipped_by_the_scaler_moves_nothing(tmp_path: Path) -> None:
    """Weights, optimiser, schedule and `updates` wait; the scale comes down; the step counts."""
    run, scaler = scaled_training(tmp_path, inf_at=3)
    lines = last_line_of_each_step(tmp_path / "journal.jsonl")
    assert [1, 2, 2, 3, 4] == [lines[step]["updates"] for step in range(1, 6)]
    assert [3] == [step for step, line in lines.items() if line.get("skipped")]
    assert lines[3]["lr"] == lines[4]["lr"]
    assert run.position.updates == run.schedulers[0].updates == 4
    assert scaler.get_scale() == 4.0
    assert {4.0} == {float(each["step"]) for each in run.optimizers[0].state.values()}
