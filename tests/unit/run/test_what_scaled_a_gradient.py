"""A gradient of the same direction and another size: what scales gradients is named, clipping first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken

Change = Callable[[nn.Module], object]


def clipped(limit: float) -> Change:
    """Return what clips the norm of a model's gradients."""
    return lambda model: nn.utils.clip_grad_norm_(model.parameters(), limit)


def train(directory: Path, until: int, change: Change, dtype: torch.dtype = torch.float32) -> None:
    """Train to a batch; save the third, and nothing later."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(40, 4, dtype=dtype)), batch_size=4)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, save_every=3)
    try:
        for (batch,) in run.batches(10):
            if run.position.step == until:
                break
            loss = model(batch).square().mean()
            loss.backward()
            change(model)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
    finally:
        run.close()


SCALES = (
    "in the same direction: gradient clipping (max_norm), a factor of the loss, the number of batches "
    "that an update gathers, or the loss scaler changed"
)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (clipped(0.1), clipped(0.05), SCALES),
        (clipped(0.1), lambda _: None, SCALES),
        (lambda _: None, clipped(0.1), SCALES),
        (
            clipped(0.1),
            lambda model: nn.utils.clip_grad_value_(model.parameters(), 0.02),
            "the backward pass, the loss scaler, gradient clipping changed",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The loop was left")
def test_another_clipping_is_named(tmp_path: Path, was: Change, now: Change, said: str) -> None:
    """Where all entries differ by one factor, the sentence says so."""
    train(tmp_path, 5, was)
    with pytest.raises(unbroken.Diverged) as error:
        train(tmp_path, 5, now)
    assert said in str(error.value)


def test_the_same_clipping_is_exact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is told of a gradient is the same to the last bit."""
    caplog.set_level("INFO", "unbroken")
    train(tmp_path, 5, clipped(0.1))
    train(tmp_path, 7, clipped(0.1))
    assert "[Replay] EXACT (2/2 steps" in caplog.text


def test_rounded_entries_are_no_common_factor(tmp_path: Path) -> None:
    """In bfloat16 a factor is lost in the rounding of each entry; clipping is named all the same."""
    train(tmp_path, 5, clipped(0.1), torch.bfloat16)
    with pytest.raises(unbroken.Diverged, match="gradient clipping"):
        train(tmp_path, 5, clipped(0.05), torch.bfloat16)
