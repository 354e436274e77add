"""A finished run that is started again says that it is finished, and claims nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.journal.journal import read_lines

FINISHED = (
    "[Resume] the run is finished, at step 20: nothing was left to train, and nothing to repeat."
)


def start(directory: Path, epochs: int, *, by_steps: bool = False) -> unbroken.Run:
    """Train ten batches an epoch, and close."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), batch_size=4)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer)

    def trained_on(batches: object) -> None:
        for (batch,) in batches:  # type: ignore[attr-defined]  # batches of tensors
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    if by_steps:
        trained_on(run.batches(10 * epochs))
    else:
        for _ in run.epochs(epochs):
            trained_on(run.batches())
    run.close()
    return run


@pytest.mark.parametrize("by_steps", [False, True])
def test_it_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture, by_steps: bool) -> None:
    """Nothing is trained, so nothing was proved or left unproved."""
    start(tmp_path, 2, by_steps=by_steps)
    caplog.set_level("INFO", "unbroken")
    run = start(tmp_path, 2, by_steps=by_steps)
    assert FINISHED in caplog.messages
    assert not [each for each in caplog.messages if "UNPROVED" in each]
    assert run.monitor.verdict is None
    last = list(read_lines(tmp_path / "history.jsonl"))[-1]
    assert ("closed", True) == (last["event"], last["finished"])


def test_one_that_trains_on_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to repeat either, and what it trains is unproved."""
    start(tmp_path, 2)
    caplog.set_level("INFO", "unbroken")
    run = start(tmp_path, 3)
    assert FINISHED not in caplog.messages
    assert run.monitor.verdict is not None
    assert "UNPROVED" == run.monitor.verdict.outcome


def test_steps_that_are_to_be_repeated_are_not_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that was left after its last save has steps to repeat, and proves them."""
    torch.manual_seed(0)
    start(tmp_path, 1)
    newest = max((tmp_path / "checkpoints").iterdir())
    start(tmp_path, 2)
    for each in (tmp_path / "checkpoints").iterdir():
        if each != newest:
            each.rename(tmp_path / each.name)
    caplog.set_level("INFO", "unbroken")
    run = start(tmp_path, 2)
    assert run.monitor.verdict is not None
    assert "EXACT" == run.monitor.verdict.outcome
    assert FINISHED not in caplog.messages
