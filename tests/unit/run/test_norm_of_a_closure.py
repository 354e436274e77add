"""The norm that is journalled of an update is of the gradients that the update is made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import unbroken


@pytest.mark.parametrize("by_name", [True, False])
def test_gradients_that_a_closure_makes_are_measured(tmp_path: Path, by_name: bool) -> None:
    """Where a closure goes backward, its gradients are measured, not those that stood before it."""
    model = torch.nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.ones(4, 3)), batch_size=2)
    run = unbroken.Run(tmp_path, data=loader, model=model, optimizer=optimizer, seed=1)
    norms: list[float] = []
    for (batch,) in run.batches(until=2):

        def closure(batch: torch.Tensor = batch) -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = model(batch).sum() * (len(norms) + 1)
            loss.backward()
            assert model.weight.grad is not None
            norms.append(float(model.weight.grad.norm()))
            return loss

        _ = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
    run.close()
    lines = (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    sketches = [json.loads(line)["gradient_sketch"] for line in lines]
    assert sketches == pytest.approx(norms)
