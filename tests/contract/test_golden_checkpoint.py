"""A checkpoint of each format, made once, loads and continues exactly in every later version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support import golden
from support import toy_training as toy
from support.evidence import journal_of
from support.sameness import same
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.state.codec import encode
from unbroken.state.digest import combined_digest
from unbroken.state.position import Position

FIXTURES = Path(__file__).parents[1] / "fixtures"
FORMATS = [1, 2]
NAME = "step-00000005+2"

LIVE_DIGEST = "0b40d0d7aa966292366dfcca33267272"
"""Of every live tensor after the restore: names, dtypes, shapes and bytes."""

STEPS = [
    (
        6,
        "0847998d41a86959094e2f75d5a169d2",
        0.049235006648483265,
        1.220162272453308,
        4.3183817863464355,
    ),
    (
        7,
        "11367cdf24e8c7e536ccfc0201868bc7",
        0.04864543104251587,
        0.2643440365791321,
        1.6688224077224731,
    ),
    (
        8,
        "c0383efd47a58d9ef71fdf64c685478f",
        0.04789433316637644,
        0.978980541229248,
        2.685242176055908,
    ),
    (
        9,
        "571706ee3f63cdccafd31b487de55fa7",
        0.04698684378016223,
        0.3281969130039215,
        3.5368380546569824,
    ),
]
"""The steps after it, as the version that made the first one trained them: step, digest of the sample names,
applied learning rate (exact), loss and gradient norm (to the rounding of another machine)."""


def fixture_of(version: int) -> Path:
    return FIXTURES / f"golden_checkpoint_v{version}"


@pytest.fixture(params=FORMATS)
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Path(shutil.copytree(fixture_of(request.param), tmp_path / "run"))
    torch.set_num_threads(threads)


def live_digest(training: toy.Training) -> str:
    tensors: dict[str, torch.Tensor] = {}
    for name, part in training.run.state.capture().items():
        encode(part, name, tensors)
    return combined_digest(sorted(tensors.items()))


@pytest.mark.parametrize("version", FORMATS)
def test_it_is_whole_and_small(version: int) -> None:
    """The files are what they were, on this system too: nobody translated their line ends."""
    kept = fixture_of(version)
    checkpoint = Checkpoint.at(Layout(kept).checkpoints / NAME)
    checkpoint.verify()
    assert version == checkpoint.manifest.format
    assert sum(each.stat().st_size for each in kept.rglob("*") if each.is_file()) < 60_000


def test_both_formats_hold_the_same_tensors() -> None:
    """The training is the same, and so is every tensor of it: no format changes a byte."""
    held = [Checkpoint.at(Layout(fixture_of(each)).checkpoints / NAME) for each in FORMATS]
    digests = [{n: leaf.digest for n, leaf in each.manifest.leaves.items()} for each in held]
    assert digests[0] == digests[1]


def test_it_is_restored_exactly(directory: Path) -> None:
    """Every leaf is what it was: tensors by a literal digest, other values one by one."""
    memory, expected = golden.Memory(), golden.Memory()
    expected.fill()
    training = golden.build(directory, memory)
    training.run.close()
    assert Position(epoch=1, batch=1, samples=2, step=5, updates=5) == training.run.position
    assert LIVE_DIGEST == live_digest(training)
    assert same(expected.held, memory.held)
    assert "resumed" == training.report.outcome


def test_it_is_continued_exactly(directory: Path) -> None:
    """The steps that follow use the same samples and rates and come to the same losses."""
    training = golden.build(directory, golden.Memory())
    toy.train(training, golden.UNTIL)
    training.run.close()
    lines: dict[int, dict[str, Any]] = journal_of(directory)
    assert list(range(1, golden.UNTIL + 1)) == sorted(lines)
    for step, digest, rate, loss, norm in STEPS:
        assert (digest, rate) == (lines[step]["sample_digest"], lines[step]["lr"])
        assert (loss, norm) == pytest.approx(
            (lines[step]["loss"], lines[step]["grad_norm"]), rel=1e-6, abs=1e-6
        )
