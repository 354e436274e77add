"""A step that the memory has no room for is repeated with half of its micro-batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny_trainer import (
    STEPS,
    TinyTrainer,
    journal,
    leaf_digests,
    newest,
    require_equal,
)
from unbroken.journal.journal import read_lines
from unbroken_tts.data.batch import Batch


def give_room(
    monkeypatch: pytest.MonkeyPatch,
    samples: int,
    first: int = 1,
    last: int = STEPS,
    error: Exception | None = None,
) -> None:
    """Let the memory run out in some steps' last micro-batches, above so many samples."""
    error = error or torch.OutOfMemoryError("injected")
    from unbroken_tts.train import loop

    original = loop.train_micro_batch

    def train_micro_batch(session: Any, step: Any, totals: Any, batch: Batch, size: int) -> None:
        # Not in the first one of a step: there must be something to be dropped.
        started = step.samples_done > 0 or samples == 0
        if len(batch.ids) > samples and started and first <= step.number <= last:
            raise error
        original(session, step, totals, batch, size)

    monkeypatch.setattr(loop, "train_micro_batch", train_micro_batch)


def test_it_is_as_if_it_had_been_cut_so_from_the_start(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no step has room for more, the run ends with the bits of one with smaller micro-batches."""
    flags = ("--max-steps", 8)
    small = ("--batch-size", 1, "--grad-accumulation", 9)
    assert trainer.start(tmp_path / "small", *flags, *small).code == 0
    give_room(monkeypatch, 1)
    ended = trainer.start(tmp_path / "halved", *flags)
    assert ended.code == 0, ended.err
    assert journal(tmp_path / "small") == journal(tmp_path / "halved")
    assert leaf_digests(tmp_path / "small") == leaf_digests(tmp_path / "halved")
    assert 1 == len(
        ended.lines("Step 1: a micro-batch of 3 samples doesn't fit into the device's memory")
    )
    assert "--batch-size 1" in ended.out


def test_only_the_steps_without_room_are_cut(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later steps have the planned size and the planned samples again; the history tells of it."""
    give_room(monkeypatch, 1, first=4, last=5)
    assert trainer.start(tmp_path).code == 0
    ours, theirs = journal(tmp_path), journal(whole)
    assert [each["micro_batch"] for each in ours.values()] == [3] * 3 + [1] * 2 + [3] * 17
    assert {s: line["sample_digest"] for s, line in theirs.items()} == {
        s: line["sample_digest"] for s, line in ours.items()
    }
    assert {s: line for s, line in theirs.items() if s < 4} == {
        s: line for s, line in ours.items() if s < 4
    }
    events = [
        e for e in read_lines(tmp_path / "history.jsonl") if e.get("event") == "out of memory"
    ]
    assert [(4, 3, 1)] == [(e["step"], e["batch"], e["repeated_with"]) for e in events]


@pytest.mark.parametrize("samples", [0, 3, 6])
def test_a_resumed_run_is_cut_alike(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    """Stopped in or before a step that is repeated, the run goes on to the same bits."""
    flags = ("--max-steps", 8)
    give_room(monkeypatch, 1, first=5, last=5)
    assert trainer.start(tmp_path / "whole", *flags).code == 0
    trainer.stop(tmp_path / "stopped", *flags, at=3, samples=samples)
    assert trainer.start(tmp_path / "stopped", *flags).code == 0
    require_equal(tmp_path / "whole", tmp_path / "stopped")


def test_a_partial_step_that_was_saved_is_begun_anew(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that was saved half-way and has no room later is repeated from its start."""
    flags = ("--max-steps", 8)
    with monkeypatch.context() as patch:
        give_room(patch, 1, first=4, last=4)
        assert trainer.start(tmp_path / "whole", *flags).code == 0
    trainer.stop(tmp_path / "stopped", *flags, "--grace-seconds", 0, at=3, samples=0)
    assert 3 == newest(tmp_path / "stopped").position.samples
    give_room(monkeypatch, 1, first=4, last=4)
    assert trainer.start(tmp_path / "stopped", *flags).code == 0
    require_equal(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("weighting", ["tokens", "legacy"])
def test_a_step_that_was_saved_while_cut_smaller_is_begun_anew(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weighting: str
) -> None:
    """Saved with one of its samples done, a step that has room later is that of a run with room."""
    flags = ("--max-steps", 8, "--loss-weighting", weighting)
    assert trainer.start(tmp_path / "whole", *flags).code == 0
    with monkeypatch.context() as patch:
        give_room(patch, 1, first=4, last=4)
        trainer.stop(tmp_path / "stopped", *flags, "--grace-seconds", 0, at=3, samples=1)
    assert 2 == newest(tmp_path / "stopped").position.samples
    assert trainer.start(tmp_path / "stopped", *flags).code == 0
    require_equal(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("now", [1, 3])
def test_a_step_that_is_repeated_with_another_cut_is_not_called_diverged(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """The replay knows how the step was cut the first time, and that dropout masks follow the cut."""
    flags = ("--max-steps", 8)
    with monkeypatch.context() as patch:
        give_room(patch, 4 - now, first=5, last=5)
        trainer.stop(tmp_path, *flags, at=4)
    assert 4 - now == journal(tmp_path)[5]["micro_batch"]
    give_room(monkeypatch, now, first=5, last=5)
    ended = trainer.start(tmp_path, *flags)
    assert ended.code == 0, ended.err
    assert now == journal(tmp_path)[5]["micro_batch"]
    told = ended.lines("[Replay] ")
    assert "UNPROVED" in told[-1], told
    assert f"micro-batches of {now}, were {4 - now}" in told[-1]


@pytest.mark.parametrize(
    ("error", "code"), [("out of memory", 0), ("an illegal memory access was encountered", 1)]
)
def test_a_kernel_that_finds_no_room_is_known(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, code: int
) -> None:
    """Beside torch's own error there is the card's; any other error of a card ends the start."""
    give_room(monkeypatch, 1, first=2, last=2, error=RuntimeError(f"CUDA error: {error}"))
    assert code == trainer.start(tmp_path, "--max-steps", 3).code
    cut = [each["micro_batch"] for each in journal(tmp_path).values()]
    assert cut == ([3, 1, 3] if code == 0 else [3])


def test_no_room_for_a_single_sample_ends_the_start(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, what to do is said, the last checkpoint stays, and the run can go on exactly."""
    with monkeypatch.context() as patch:
        give_room(patch, 0, first=6, last=6)
        ended = trainer.start(tmp_path)
    assert ended.code == 2
    assert "in step 6 with a single sample in a micro-batch" in ended.err
    assert "--grad-checkpointing" in ended.err
    assert newest(tmp_path).position.step == 5
    assert trainer.start(tmp_path).code == 0
    require_equal(whole, tmp_path)


def test_gradients_and_sums_of_the_attempt_are_dropped(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a step begins again nothing of the attempt is left in the parameters or the sums."""
    from unbroken.run.step import Step

    original = Step.begin_again
    left: list[list[object]] = []

    def begin_again(step: Step) -> None:
        state = step._state
        assert state.position.samples
        original(step)
        left.append([each.grad for each in state.trained.values() if each.grad is not None])
        left.append(list(state.sums.values))
        left.append([state.position.samples] if state.position.samples else [])

    monkeypatch.setattr(Step, "begin_again", begin_again)
    give_room(monkeypatch, 1, first=2, last=2)
    assert trainer.start(tmp_path, "--max-steps", 3).code == 0
    assert [[], [], []] == left
