"""A resume whose frozen rows move at the first update is ended there, with its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

import unbroken
from unbroken.errors import Diverged


def train(
    directory: Path,
    until: int,
    *,
    is_masked: bool,
    on_diverged: Literal["stop", "continue"] = "stop",
) -> tuple[unbroken.Run, nn.Embedding]:
    """Train a table whose first two rows are frozen by a mask on the gradient, and save."""
    torch.manual_seed(0)
    table = nn.Embedding(6, 3)
    if is_masked:
        mask = torch.tensor([0.0, 0, 1, 1, 1, 1])[:, None]
        table.weight.register_hook(lambda gradient: gradient * mask)
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches([str(i) for i in range(12)], None, 4, 3),
        model=table,
        optimizer=torch.optim.SGD(table.parameters(), lr=0.1),
        frozen={"model.weight": slice(0, 2)},
        save_every=0,
        on_diverged=on_diverged,
    )
    try:
        run.resume()
        for step in run.steps(until):
            for micro in step.micro_batches(4):
                rows = table(torch.tensor([i % 6 for i in micro.indices]))
                step.backward((rows - 1.0).square().sum() / len(step.indices))
            step.update()
        run.save()
    finally:
        run.close()
    return run, table


def test_a_mask_that_is_not_put_back_ends_the_run(tmp_path: Path) -> None:
    """Nothing is journalled beyond the save, and yet the first update tells; nothing newer is saved."""
    train(tmp_path, 3, is_masked=True)
    with pytest.raises(Diverged, match="Gradient masking FAILED! Base embeddings have gradients"):
        train(tmp_path, 6, is_masked=False)
    assert ["step-00000003"] == [each.name for each in (tmp_path / "checkpoints").iterdir()]
    run, _ = train(tmp_path, 6, is_masked=True)
    assert 6 == run.position.step


def test_it_goes_on_where_that_was_asked_for(tmp_path: Path) -> None:
    """The history keeps that it was told."""
    train(tmp_path, 3, is_masked=True)
    run, _ = train(tmp_path, 6, is_masked=False, on_diverged="continue")
    assert 6 == run.position.step
    assert "Gradient masking FAILED" in (tmp_path / "history.jsonl").read_text(encoding="utf-8")


def test_a_mask_that_is_put_back_is_no_trouble(tmp_path: Path) -> None:
    """The frozen rows are the first ones to the last bit."""
    _, first = train(tmp_path, 3, is_masked=True)
    run, table = train(tmp_path, 9, is_masked=True)
    assert torch.equal(first.weight[:2], table.weight[:2])
    assert [] == [each for each in run.monitor.remarks if each.is_alarm]
