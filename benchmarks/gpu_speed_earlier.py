"""Part 3: the rebuilt earlier trainer, which the speed is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from earlier_way import EarlierGpt
from gpu_device import fresh_peak, is_cuda
from gpu_part import Note
from gpu_speed import speed
from gpu_training import REAL, TINY, fill
from length_mix import make_samples, padded_share
from torch.utils.data import DataLoader
from workload import (
    CLIP,
    LEARNING_RATE,
    MEL_WEIGHT,
    TEXT_WEIGHT,
    WEIGHT_DECAY,
    Workload,
)

from unbroken_tts.hardware import configure, detect, plan_precision
from unbroken_tts.train.loader import batch_maker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbroken_tts.data.batch import Batch

EPOCHS = 50


class OnDevice(EarlierGpt):
    """The earlier model with its weights filled where they are."""

    def _fill(self, vocabulary: int) -> None:
        del vocabulary
        fill(self)


class EarlierTraining:
    """Its loop on a device: one micro-batch of 64 random samples a step.

    Batches are read ahead and page-locked as for ours; only the way of training is compared.
    """

    def __init__(self, work: Workload, device: str, *, workers: int) -> None:
        hardware = detect(device)
        configure(hardware, plan_precision(hardware, precision=work.precision))
        self.work, self.device = work, hardware.device
        self.config, self.lengths = work.config(), work.lengths()
        with torch.device(self.device):
            self.model: Any = OnDevice(self.config, work.vocabulary).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        draw = torch.Generator().manual_seed(1)
        count = len(self.lengths.text)
        self.order = [
            batch.tolist()
            for _ in range(EPOCHS)
            for batch in torch.randperm(count, generator=draw).split(work.batch)
        ]
        loader: DataLoader[Any] = DataLoader(
            make_samples(self.lengths, self.config, work.vocabulary),  # type: ignore[arg-type]  # a list has what is asked
            batch_sampler=self.order,
            num_workers=workers,
            collate_fn=batch_maker(self.config),
            prefetch_factor=4 if workers else None,
            pin_memory=is_cuda(device),
        )
        self.batches: Iterator[Batch] = iter(loader)

    def step(self) -> None:
        """Train a step; as in `earlier_way.py`."""
        batch = next(self.batches).to(self.device)
        kind = self.device.split(":", maxsplit=1)[0]
        with torch.autocast(kind, torch.bfloat16, enabled=self.work.precision == "bf16"):
            text_loss, mel_loss, _ = self.model(batch)
            loss = TEXT_WEIGHT * text_loss + MEL_WEIGHT * mel_loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()  # it logs each step


def measure(device: str, *, small: bool, note: Note) -> None:
    """Measure it."""
    work = Workload(**(TINY if small else REAL))
    training = EarlierTraining(work, device, workers=0 if small else 4)
    fresh_peak(device)
    speed("earlier trainer", work, training.step, device, note)
    batches = [np.array(each) for each in training.order[: work.steps]]
    share = padded_share(training.lengths, batches, "legacy")
    note("padded share", share, [("earlier trainer: padding", f"{share:.1%} of the rows")])
