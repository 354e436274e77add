"""Healthy resumes of the real trainer raise no alarm, are proved, and end as without a stop."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.tiny_base import write_tiny_base
from support.tiny_trainer import Ended, TinyTrainer, require_equal, write_tiny_trainer

SHORT = ("--max-steps", 14)
EXACT = re.compile(r"\[Replay\] EXACT \((\d)/\1 steps: data, loss, gradient, update\)")
Stop = tuple[int, int]
"""Steps completed, and samples done of the next."""

CONFIGURATIONS: dict[str, tuple[tuple[object, ...], tuple[Stop, ...]]] = {
    "two workers, stopped inside a step": (("--num-workers", 2), ((6, 3),)),
    "one worker, at the end of an epoch, twice": (("--num-workers", 1), ((6, 0), (12, 0))),
    "bf16, averaged weights, inside two steps": (
        ("--precision", "bf16", "--ema-decay", 0.9),
        ((3, 6), (8, 3)),
    ),
    "the whole step at once": (("--batch-size", 8, "--grad-accumulation", 1), ((5, 0),)),
    "one sample at a time, recomputed": (
        ("--batch-size", 1, "--grad-accumulation", 6, "--grad-checkpointing"),
        ((4, 2),),
    ),
    "legacy loss and schedule, no validation": (
        ("--loss-weighting", "legacy", "--schedule", "legacy", "--val-interval", 0),
        ((4, 3), (9, 6)),
    ),
}
"""By what is in them: flags, and where each start but the last is stopped."""


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


def require_clean(ended: Ended) -> None:
    """Read what a person reads: every check agreed, and every repeated step came out again."""
    assert ended.code == 0, ended.err
    assert "ALL CHECKS PASSED" in ended.out
    assert ", 0 differ, 0 cannot compare" in ended.out
    assert len(ended.lines("[Replay]")) == 1
    assert EXACT.fullmatch(ended.lines("[Replay]")[0]), ended.lines("[Replay]")
    assert not re.search("CRITICAL|WARNING", ended.out + ended.err)


def resume_clean(
    trainer: TinyTrainer, root: Path, flags: tuple[object, ...], stops: tuple[Stop, ...]
) -> None:
    """Train with every stop, and without one, and compare the ends."""
    named = [str(each) for each in (*SHORT, *flags)]
    for step, samples in stops:
        trainer.stop(root / "stopped", *named, at=step, samples=samples)
    require_clean(trainer.start(root / "stopped", *named))
    assert trainer.start(root / "whole", *named).code == 0
    require_equal(root / "whole", root / "stopped")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_clean_resume_raises_no_alarm(trainer: TinyTrainer, tmp_path: Path, name: str) -> None:
    """Whatever was chosen and wherever it was stopped."""
    resume_clean(trainer, tmp_path, *CONFIGURATIONS[name])


def test_a_clean_resume_of_an_extended_vocabulary(trainer: TinyTrainer, tmp_path: Path) -> None:
    """The rows of the base are frozen, the new ones have momentum of their own."""
    base = write_tiny_base(trainer, tmp_path)
    flags = (*base.flags, "--weight-decay", 0.5, "--ema-decay", 0.5)
    resume_clean(trainer, tmp_path, flags, ((4, 3), (7, 0)))
