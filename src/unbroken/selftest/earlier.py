"""Bugs in the resumes of the trainer that this project replaces, beside those that its users know of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unbroken.run.step import Step
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining

AREA = Area("earlier")


@AREA.fault(
    "manifest-order",
    "the rest of a begun epoch is taken in the order of the manifest instead of the shuffled one",
    "StateMismatch",
    source="A1",
)
def _manifest_order(scene: Scene) -> None:
    def own(training: TrialTraining, step: Step) -> Sequence[int]:
        here, order = training.run.position, training.run.order
        if here.epoch > 1:
            return step.indices
        start = here.batch * order.effective_batch
        return range(start, start + len(step.indices))

    scene.plan.own_order = own


@AREA.fault(
    "generator-used-by-validation",
    "the resume's own validation draws from the restored generator, and every later epoch is "
    "shuffled otherwise",
    source="A3",
    setting="loose",
)
def _generator_used(scene: Scene) -> None:
    def validate(_: TrialTraining) -> None:
        torch.randperm(44)

    scene.plan.after_resume.append(validate)


@AREA.fault(
    "skip-by-batches-of-another-size",
    "the samples done are counted in batches, and the batch is another one now",
    "batch-geometry-unchanged",
    "StateMismatch",
    source="A4",
)
def _skip_by_batches(scene: Scene) -> None:
    def own(training: TrialTraining, step: Step) -> Sequence[int]:
        order = training.run.order
        whole = [int(i) for batch in order.epoch(training.run.position.epoch) for i in batch]
        start = training.run.position.batch * (order.effective_batch // 2)
        return whole[start : start + len(step.indices)]

    scene.plan.own_order = own


@AREA.fault(
    "longer-manifest",
    "the manifest grew between stop and resume: other epochs, another length of the schedule",
    "data-set-unchanged",
    source="A5",
)
def _longer_manifest(scene: Scene) -> None:
    scene.plan.samples += 12
    scene.plan.total += 15


@AREA.fault(
    "longer-schedule",
    "more epochs are asked for, and the learning rate jumps back up its curve",
    "settings-unchanged",
    "schedule-unchanged",
    source="A6, R06",
)
def _longer_schedule(scene: Scene) -> None:
    scene.plan.total *= 2


@AREA.fault(
    "permuted-tokenizer",
    "another tokenizer of the same size gives every piece of text another id",
    "tokenizer-unchanged",
    source="A10",
)
def _permuted_tokenizer(scene: Scene) -> None:
    scene.plan.pieces = tuple(reversed(range(29)))


@AREA.fault(
    "frozen-rows-decay",
    "frozen rows are kept by a mask on their gradient, and weight decay shrinks them at every step",
    "replay: update",
    "frozen-rows-out-of-reach",
    source="C1, C2, R64",
)
def _frozen_rows_decay(scene: Scene) -> None:
    def train_masked(training: TrialTraining) -> None:
        rows = training.model.old_voices
        rows.requires_grad_(True)
        rows.register_hook(torch.zeros_like)
        training.optimizer.param_groups[0]["params"].append(rows)

    scene.plan.after_resume.append(train_masked)
