"""A small training whose every number can be another one at its next start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import unbroken


class Training:
    """A training whose every number can be another one at the next start."""

    def __init__(self, directory: Path, **given: Any) -> None:
        names = {"rate": 0.1, "decay": 0.5, "total": 20, "batch": 4, "mix": 1, "trained": True}
        self.given: dict[str, Any] = names | given
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        self.model[0].bias.requires_grad_(self.given["trained"])
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.given["rate"], weight_decay=self.given["decay"]
        )
        total = self.given["total"]
        schedule = unbroken.Schedule(
            self.optimizer, unbroken.warmup_cosine(2, total), {"total": total}
        )
        ids = [str(i) for i in range(40)]
        asked = {"settings": {"rate": self.given["rate"]}, "mix": self.given["mix"]}
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches(ids, None, self.given["batch"], 3),
            model=self.model,
            optimizer=self.optimizer,
            scheduler=schedule,
            facts=given.get("facts", asked),
            requested_facts=asked if "facts" in given else None,
            save_every=0,
        )

    def train(self, until: int) -> unbroken.StepResult:
        result = None
        for step in self.run.steps(until):
            for micro in step.micro_batches(4):
                x = torch.tensor([[float(i), 1.0] for i in micro.indices])
                step.backward(self.model(x).square().sum() / len(step.indices))
            result = step.update()
        assert result is not None
        return result
