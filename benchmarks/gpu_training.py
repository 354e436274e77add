"""Our training on a device: the trainer's model, optimiser, loader and `Run`, without its files.

The parts of `benchmarks/gpu.py` train with it, and so do the tests that need a card.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from length_mix import make_samples
from workload import (
    CLIP,
    LEARNING_RATE,
    MEL_WEIGHT,
    TEXT_WEIGHT,
    WEIGHT_DECAY,
    Workload,
)

import unbroken
from unbroken_tts.hardware import PrecisionPlan, configure, detect
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.losses import TokenTotals, weighted_loss
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.building import DTYPES, build
from unbroken_tts.train.halving import HalvedSteps
from unbroken_tts.train.loader import MicroBatchLoader, batch_maker
from unbroken_tts.train.validation import autocast_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from unbroken.run.step import Step
    from unbroken.run.step_result import StepResult
    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.trained_part import TrainedPart

ENDLESS = 1_000_000

REAL: dict[str, Any] = {
    "layers": 24, "width": 1280, "heads": 20, "vocabulary": 12_000, "codes": 8_192,
    "dropout": 0.1, "batch": 64, "steps": 8, "shrink": 1, "threads": 1, "precision": "bf16",
}  # fmt: skip
"""The model of IndexTTS2, and a step as the trainer makes it on a card of 80 GB."""

SMALL: dict[str, Any] = REAL | {
    "layers": 2, "width": 128, "heads": 2, "vocabulary": 300, "codes": 300,
    "batch": 8, "steps": 4,
}  # fmt: skip
"""A model of the same make that trains in no time."""

TINY: dict[str, Any] = SMALL | {"width": 32, "vocabulary": 50, "codes": 60, "batch": 4,
                                "steps": 2, "shrink": 16}  # fmt: skip
"""For a dry run on a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a training is run."""

    device: str = "cuda"
    precision: str = "bf16"
    """fp32, bf16 or fp16."""
    micro: int = 0
    """Samples of a micro-batch; 0 for the whole step batch."""
    cuts: Mapping[int, int] | None = None
    """Samples of a micro-batch by step, taken from the data as they are asked for; None for `micro`."""
    overlap: bool = True
    workers: int = 0
    """Processes that read samples ahead."""
    compiled: str = ""
    """Back end of torch.compile for the transformer's blocks; empty for none."""
    part: TrainedPart | None = None
    """What is trained; None for everything."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass."""
    refuse: Callable[[Batch], None] = field(default=lambda _batch: None)
    """Called before each forward pass; for a dry run of a memory that runs out."""


class DeviceTraining:
    """A training on a device.

    Args:
        work: Model and samples; its precision is not used.
        directory: Of the run.
        how: The rest.
    """

    def __init__(self, work: Workload, directory: Path, how: How) -> None:
        self.work, self.how = work, how
        self.config = work.config()
        self.lengths = work.lengths()
        self.samples = make_samples(self.lengths, self.config, work.vocabulary)
        hardware = detect(how.device)
        plan = PrecisionPlan(
            precision=how.precision,  # type: ignore[arg-type]  # one of them
            has_scaler=how.precision == "fp16",
            has_tf32=hardware.has_tf32,
            reason="benchmark",
        )
        configure(hardware, plan)
        model = VoiceGpt(
            self.config, work.vocabulary, checkpointing=how.checkpointing, part=how.part
        ).to(hardware.device)
        fill(model)
        model.train()
        self.built = build(_settings(), model, hardware, plan, ENDLESS)
        self.autocast = autocast_for(hardware.device, DTYPES.get(how.precision))
        if how.compiled:
            for block in model.gpt.h:
                block.compile(backend=how.compiled, dynamic=True)
        self.halved: list[tuple[int, int, int]] = []
        """Steps that were repeated: number, size that was too large, size then tried."""
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches(
                [sample.id for sample in self.samples],
                self.lengths.text + self.lengths.codes,
                effective_batch=work.batch,
                seed=1,
            ),
            model=self.built.model,
            optimizer=self.built.optimizer,
            scheduler=self.built.schedule,
            scaler=self.built.scaler,
            overlap=how.overlap,
            save_every=0,
            keep=1,
        )

    def steps(self, until: int) -> Generator[StepResult]:
        """Train until so many steps are completed, one at a time."""
        if self.how.cuts is not None:
            yield from self._steps_cut(until, self.how.cuts)
            return
        size = self.how.micro or self.work.batch
        make = batch_maker(self.config)
        loader = MicroBatchLoader(
            self.samples,  # type: ignore[arg-type]  # what is asked of a data set, lists have
            self.run.order,
            self.run.position,
            ENDLESS,
            size=size,
            workers=self.how.workers,
            config=self.config,
            pin=self.how.device.startswith("cuda"),
        )
        halved = HalvedSteps(
            loader, self.samples.__getitem__, make, size, lambda *told: self.halved.append(told)
        )
        try:
            for step in self.run.steps(until):
                totals = self.totals(step)
                halved.train(step, partial(self._micro_batch, step, totals))
                yield step.update(clip_norm=CLIP)
        finally:
            loader.close()

    def _steps_cut(self, until: int, cuts: Mapping[int, int]) -> Generator[StepResult]:
        """Train with each step cut as it is told; a memory that runs out is an error here."""
        make = batch_maker(self.config)
        for step in self.run.steps(until):
            totals = self.totals(step)
            for micro in step.micro_batches(cuts[step.number]):
                batch = make([self.samples[index] for index in micro.indices])
                self._micro_batch(step, totals, batch, len(micro.indices))
            yield step.update(clip_norm=CLIP)

    def totals(self, step: Step) -> TokenTotals:
        """Return the targets of a step."""
        indices = list(step.indices)
        return TokenTotals(
            text=int(self.lengths.text[indices].sum()) + len(indices),
            mel=int(self.lengths.codes[indices].sum()) + len(indices),
        )

    def _micro_batch(self, step: Step, totals: TokenTotals, batch: Batch, _: int) -> None:
        self.how.refuse(batch)
        with self.autocast():
            sums = self.built.model(batch)
        step.backward(
            weighted_loss(sums, totals, TEXT_WEIGHT, MEL_WEIGHT),
            text_loss=sums.text_loss_sum / totals.text,
            mel_loss=sums.mel_loss_sum / totals.mel,
            mel_top1=sums.mel_top1_hits / totals.mel,
        )


@torch.no_grad()
def fill(model: torch.nn.Module) -> None:
    """Fill the weights where they are, which for half a billion takes seconds on the host."""
    device = next(model.parameters()).device
    draw = torch.Generator(device).manual_seed(1)
    for name, each in model.named_parameters():
        if each.dim() > 1:
            each.normal_(0.0, 0.02, generator=draw)
        else:
            each.fill_(1.0 if name.endswith("weight") else 0.0)


def _settings() -> TrainSettings:
    return TrainSettings(
        train_manifest=("none",),
        val_manifest=("none",),
        tokenizer=Path("none"),
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        warmup_steps=10,
    )
