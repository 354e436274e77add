"""Loops that belong to a framework ask the run for each batch, and save where they ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.run.order import OrderedData

DATA = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


def made(directory: Path, **settings: Any) -> tuple[unbroken.Run, torch.nn.Linear, Any]:
    """Return a run over four batches an epoch, its model and its optimiser."""
    torch.manual_seed(3)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(DATA), batch_size=3, shuffle=True)
    settings = {"save_every": 1, "data": loader, **settings}
    return unbroken.Run(directory, model=model, optimizer=optimizer, **settings), model, optimizer


def trained(model: torch.nn.Linear, optimizer: Any, batch: Any) -> None:
    """Make an update."""
    optimizer.zero_grad()
    (model(batch[0]) + torch.randn(1)).square().mean().backward()
    optimizer.step()


def asked(directory: Path, batches: int, **settings: Any) -> torch.Tensor:
    """Train by asking for batches until so many are done; return the weights."""
    run, model, optimizer = made(directory, **settings)
    run.resume()
    while run.position.step < batches:
        taken = run.next_batch()
        assert taken is not None
        trained(model, optimizer, taken[0])
        if run.position.step == batches - 1:
            break
    run.end_batches()
    run.close()
    return model.weight.detach().clone()


def test_it_trains_what_a_loop_over_the_batches_trains(tmp_path: Path) -> None:
    """A loop that asks for each batch has the samples and the randomness of one over `run.batches()`."""
    run, model, optimizer = made(tmp_path / "loop")
    for batch in run.batches(until=9):
        trained(model, optimizer, batch)
    run.close()
    assert torch.equal(model.weight, asked(tmp_path / "asked", 9))


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A loop that ends inside an epoch is continued there by the next start, to the same weights."""
    whole = asked(tmp_path / "whole", 9)
    asked(tmp_path / "parts", 6)
    assert torch.equal(whole, asked(tmp_path / "parts", 9))


def test_an_epoch_that_is_left_early_is_over(tmp_path: Path) -> None:
    """Where the loop is an epoch further, what is left of the run's epoch is left out."""
    run, model, optimizer = made(tmp_path)
    run.resume()
    for epoch in (0, 0, 1):
        taken = run.next_batch(epoch)
        assert taken is not None
        trained(model, optimizer, taken[0])
    assert (1, 0) == (run.position.epoch, run.position.batch)
    run.end_batches()
    run.close()


def test_an_epoch_without_more_batches_gives_none(tmp_path: Path) -> None:
    """Where the loop asks for a fifth batch of four, it is told that the epoch has no more."""
    run, model, optimizer = made(tmp_path)
    run.resume()
    for _ in range(4):
        taken = run.next_batch(0)
        assert taken is not None
        trained(model, optimizer, taken[0])
    assert run.next_batch(0) is None
    assert run.next_batch(1) is not None
    run.close()


def test_what_the_beginning_changed_can_be_undone(tmp_path: Path) -> None:
    """A beginning that acted before the checkpoint, and again after the resume, acts once."""
    whole = asked(tmp_path, 6)
    run, model, _ = made(tmp_path)
    run.resume()
    with torch.no_grad():
        model.weight.add_(1)
    run.undo_beginning()
    assert torch.equal(whole, model.weight)
    assert run.next_batch() is not None
    run.close()


def test_a_change_that_is_not_undone_is_refused(tmp_path: Path) -> None:
    """Without that call a change between the resume and the first batch is refused."""
    asked(tmp_path, 6)
    run, model, _ = made(tmp_path)
    run.resume()
    with torch.no_grad():
        model.weight.add_(1)
    with pytest.raises(unbroken.ResumeRefused, match=r"Between Run\.resume"):
        run.next_batch()
    run.close()


def test_data_may_say_their_own_order(tmp_path: Path) -> None:
    """What says its own order and batches is asked for them; a `DataLoader` is not taken for that."""

    class Data:
        def order_and_batches(self, seed: int, *, repeats: bool) -> Any:
            del repeats
            run = made(tmp_path / "inner", seed=seed)[0]
            assert run._batch_loop is not None
            return run._order, run._batch_loop._batches

    assert isinstance(Data(), OrderedData)
    assert not isinstance(DataLoader(TensorDataset(DATA)), OrderedData)
    assert torch.equal(asked(tmp_path / "own", 5, data=Data()), asked(tmp_path / "loader", 5))


def test_a_run_without_data_has_no_batches_to_ask_for(tmp_path: Path) -> None:
    """A run that draws its own batches refuses to be asked for one."""
    run, _, _ = made(tmp_path, data=None)
    with pytest.raises(unbroken.RunMisused, match="next_batch"):
        run.next_batch()
