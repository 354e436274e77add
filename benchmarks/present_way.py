"""Our training: tight layout, step batches of like length, counted positions only, a `Run`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from length_mix import make_samples
from workload import (
    CLIP,
    LEARNING_RATE,
    MEL_WEIGHT,
    TEXT_WEIGHT,
    WEIGHT_DECAY,
    SaveTimes,
    Workload,
    directory_size,
)

import unbroken
from unbroken_tts.data.samples import collate
from unbroken_tts.hardware import detect, plan_precision
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.losses import TokenTotals, weighted_loss
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.building import build

if TYPE_CHECKING:
    from unbroken.run.step import Step

_ENDLESS = 1_000_000


class PresentWay:
    """The trainer of this repository, without its console and its reading of files."""

    def __init__(self, work: Workload, directory: Path) -> None:
        self.work = work
        self.config = work.config()
        self.lengths = work.lengths()
        self.samples = make_samples(self.lengths, self.config, work.vocabulary)
        self.autocast = work.autocast()
        settings = TrainSettings(
            train_manifest=("none",),
            val_manifest=("none",),
            tokenizer=Path("none"),
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            warmup_steps=10,
        )
        model = VoiceGpt(self.config, work.vocabulary)
        model.initialise(seed=1)
        model.train()
        hardware = detect("cpu")
        precision = plan_precision(hardware, precision=work.precision)
        self.built = build(settings, model, hardware, precision, _ENDLESS)
        self.directory = directory / "present"
        self.run = unbroken.Run(
            self.directory,
            order=unbroken.StepBatches(
                [sample.id for sample in self.samples],
                self.lengths.text + self.lengths.codes,
                effective_batch=work.batch,
                seed=1,
            ),
            model=self.built.model,
            optimizer=self.built.optimizer,
            scheduler=self.built.schedule,
            save_every=0,
            keep=1,
        )
        self.run.resume("")
        self.steps = self.run.steps(until=_ENDLESS)

    def train(self, steps: int) -> int:
        """Train some steps; return their targets."""
        return sum(self._step(next(self.steps)) for _ in range(steps))

    def _step(self, step: Step) -> int:
        indices = list(step.indices)
        totals = TokenTotals(
            text=int(self.lengths.text[indices].sum()) + len(indices),
            mel=int(self.lengths.codes[indices].sum()) + len(indices),
        )
        for micro in step.micro_batches(size=self.work.batch):
            batch = collate(
                [self.samples[index] for index in micro.indices],
                stop_text_token=self.config.stop_text_token,
                stop_mel_token=self.config.stop_mel_token,
            )
            with self.autocast():
                sums = self.built.model(batch)
            step.backward(
                weighted_loss(sums, totals, TEXT_WEIGHT, MEL_WEIGHT),
                text_loss=sums.text_loss_sum / totals.text,
                mel_loss=sums.mel_loss_sum / totals.mel,
                mel_top1=sums.mel_top1_hits / totals.mel,
            )
        step.update(clip_norm=CLIP)
        return totals.text + totals.mel

    def save(self) -> SaveTimes:
        """Commit a checkpoint: one copy, every file and directory fsynced, read back, digested."""
        began = time.perf_counter()
        self.run.save(wait=False)
        stall = time.perf_counter() - began
        place = self.run.save()
        total = time.perf_counter() - began
        return SaveTimes(stall=stall, total=total, size=directory_size(place))
