"""What the loops that people have train: a model with dropout, on shuffled samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SAVE_EVERY = 4
EPOCHS = 3
DATA = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))


def built() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    """Return model, optimizer and schedule."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5)


def update(model: nn.Module, optimizer: Any, schedule: Any, batch: torch.Tensor) -> None:
    """Train on a batch."""
    model(batch).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
