"""Faults written by somebody who had not read the checks: the loss and the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from unbroken.run.step import Step
from unbroken.selftest.blind import resumed
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, cross_entropy

AREA = Area("blind")


@AREA.fault("curriculum-restarts", "a curriculum counts from the resume: the first tokens only",
    "replay: loss")  # fmt: skip
def _curriculum(scene: Scene) -> None:
    calls: list[int] = []

    def loss(_: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        length = 3 + len(calls) // 4
        return cross_entropy(logits[:, :length], targets[:, :length])

    scene.plan.loss = loss


@AREA.fault(
    "token-ignored", "the loss leaves out a token that is taken for padding", "replay: loss"
)
def _ignored(scene: Scene) -> None:
    def loss(_: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = functional.cross_entropy(
            logits.transpose(1, 2), targets, reduction="sum", ignore_index=3
        )
        return total / targets.shape[1]

    scene.plan.loss = loss


@AREA.fault(
    "auxiliary-loss", "a term that keeps the logits small is added to the loss", "replay: loss"
)
def _auxiliary(scene: Scene) -> None:
    def loss(_: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, targets) + 1e-3 * logits.logsumexp(-1).square().mean()

    scene.plan.loss = loss


@AREA.fault("small-batch-divided-by-the-full", "the last batch of an epoch is divided by the size of a "
    "full one", "replay: loss")  # fmt: skip
def _small_batch(scene: Scene) -> None:
    def loss(training: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        order = training.run.order
        size = len(order.at(training.run.position))
        return cross_entropy(logits, targets) * (size / order.effective_batch)

    scene.plan.loss = loss


@AREA.fault("overflow-skips-an-update", "one loss overflows after the resume; the update is skipped",
    "replay: loss")  # fmt: skip
def _overflow(scene: Scene) -> None:
    calls: list[int] = []
    scene.plan.on_nonfinite = "skip"

    def loss(_: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return cross_entropy(logits, targets) * (float("inf") if len(calls) == 5 else 1.0)

    scene.plan.loss = loss


def _sampled(scene: Scene, change: Callable[[torch.Tensor, list[torch.Tensor]], Any]) -> None:
    plain, earlier = scene.plan.sample, list[torch.Tensor]()

    def sample(plan: TrainingPlan, index: int) -> torch.Tensor:
        taken: torch.Tensor = change(plain(plan, index), earlier)
        return taken

    resumed(scene, lambda training: setattr(training.plan, "sample", sample))


@AREA.fault("samples-one-late", "a prefetch hands out the sample before", "replay: loss")
def _late_sample(scene: Scene) -> None:
    def hold(tokens: torch.Tensor, earlier: list[torch.Tensor]) -> torch.Tensor:
        earlier.append(tokens)
        return earlier[-2:][0]

    _sampled(scene, hold)


@AREA.fault("samples-cut", "samples are cut at another length and filled up", "replay: loss")
def _cut(scene: Scene) -> None:
    _sampled(scene, lambda tokens, _: torch.cat([tokens[:7], torch.zeros_like(tokens[7:])]))


@AREA.fault("workers-see-the-same", "two workers read the same shard: half a batch comes twice",
    "StateMismatch", "replay: samples")  # fmt: skip
def _workers(scene: Scene) -> None:
    def order(_: TrialTraining, step: Step) -> Sequence[int]:
        half = step.indices[: len(step.indices) // 2]
        return [*half, *half]

    scene.plan.own_order = order


@AREA.fault("epoch-off-by-one", "the epoch is counted from one", "replay: samples")
def _epoch(scene: Scene) -> None:
    def count(training: TrialTraining) -> None:
        here = training.run.state.position
        training.run.state.position = replace(here, epoch=here.epoch + 1)

    resumed(scene, count)


@AREA.fault("sampler-seed", "the sampler gets another seed once it runs", "replay: samples")
def _sampler(scene: Scene) -> None:
    resumed(scene, lambda training: setattr(training.run.order, "seed", 8))


@AREA.fault("sorted-by-length", "the sampler begins to sort by length", "replay: samples")
def _sorted(scene: Scene) -> None:
    resumed(scene, lambda training: setattr(training.run.order, "lengths", np.arange(44) % 5))
