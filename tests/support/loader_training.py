"""A training over a loader of its own that kills its process at a given event."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

import unbroken

EPOCHS = 3
DATA = torch.randn(23, 5, generator=torch.Generator().manual_seed(1))


class Crops(Dataset[torch.Tensor]):
    """Augments with numpy and `random`, as people do in workers."""

    def __len__(self) -> int:
        return len(DATA)

    def __getitem__(self, index: int) -> torch.Tensor:
        start = np.random.randint(0, 2)  # noqa: NPY002
        return DATA[index][start : start + 4] * random.uniform(0.9, 1.1)  # noqa: S311


def child(directory: Path, workers: int, death: str = "", at: int = 0, number: int = 0) -> None:
    """Train in a process of one's own; be signalled at the n-th `batch`, `update` or `work` of it."""
    events: dict[str, int] = {}

    def event(name: str) -> None:
        events[name] = events.get(name, 0) + 1
        if death == name and events[name] == at:
            os.kill(os.getpid(), number)

    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    loader = DataLoader(
        Crops(), 4, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    run = unbroken.Run(
        directory, data=loader, model=model, optimizer=optimizer, scheduler=plateau,
        average=average, save_every=3,
    )  # fmt: skip
    for _ in run.epochs(EPOCHS):
        model.train()
        for i, batch in run.enumerate():
            event("batch")
            loss = model(batch).square().mean() / 2
            loss.backward()
            if i % 2:
                optimizer.step()
                event("update")
                optimizer.zero_grad()
                average.update_parameters(model)
        model.eval()
        event("work")
        plateau.step(float(average(DATA[:4, :4] + torch.randn(4, 4)).detach().square().mean()))
    run.close()
    ended = [each.state_dict() for each in (model, average, optimizer, plateau)]
    torch.save(ended, directory / "end.pt")
