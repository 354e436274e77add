"""Faults of the data: other samples, other content, another order, another cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from unbroken.run.step import Step
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, sample_of

AREA = Area("data")


def _numbers(change: Callable[[TrainingPlan], Any], scene: Scene) -> None:
    change(scene.plan)


NUMBERS: dict[str, tuple[str, tuple[str, ...], Callable[[TrainingPlan], Any], str]] = {
    "sample-removed": ("a sample is missing in the manifest", ("data-set-unchanged",),
        lambda plan: setattr(plan, "samples", 43), "R86"),
    "sample-added": ("a sample was added to the manifest", ("data-set-unchanged",),
        lambda plan: setattr(plan, "samples", 45), "A5, R86"),
    "another-seed": ("the order is made with another seed", ("order-unchanged",),
        lambda plan: setattr(plan, "seed", 8), "R78"),
    "larger-batch": ("another effective batch", ("batch-geometry-unchanged",),
        lambda plan: setattr(plan, "effective_batch", 10), "R94, R95"),
    "smaller-batch": ("a smaller effective batch", ("batch-geometry-unchanged",),
        lambda plan: setattr(plan, "effective_batch", 4), "R94, R95"),
}  # fmt: skip

for name, (sentence, causes, change, source) in NUMBERS.items():
    AREA.fault(name, sentence, *causes, mechanism="another-effective-batch" if "batch" in name
        else "", source=source)(partial(_numbers, change))  # fmt: skip


def _names(order: Callable[[list[str]], list[str]], scene: Scene) -> None:
    scene.plan.names = lambda plan: order([f"sample-{i}" for i in range(plan.samples)])


NAMES: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "manifest-sorted-otherwise": ("the files are listed in another order", sorted),
    "manifest-reversed": ("the manifest is read from its end", lambda names: names[::-1]),
    "sample-renamed": ("a sample has another name", lambda names: [*names[:-1], "another"]),
}  # fmt: skip

for name, (sentence, order) in NAMES.items():

    def _renamed(order: Any, scene: Scene) -> None:
        _names(order, scene)
        places = [int(each.partition("-")[2] or 43) if "-" in each else 43 for each in order(
            [f"sample-{i}" for i in range(44)])]  # fmt: skip
        last = places[-1]
        scene.plan.sample = lambda plan, i: sample_of(plan, places[i] if i != 43 else last + 1)

    AREA.fault(name, sentence, "data-set-unchanged", mechanism="manifest-in-another-order",
        source="R87")(partial(_renamed, order))  # fmt: skip


@AREA.fault("content-changed", "a feature file was written again, with other content",
    "data-set-unchanged", source="R86")  # fmt: skip
def _content(scene: Scene) -> None:
    scene.plan.sample = lambda plan, i: sample_of(plan, i + 100 if i < 10 else i)


def _own(take: Callable[[TrialTraining, Step], Sequence[int]], scene: Scene) -> None:
    scene.plan.own_order = take


def _epoch(training: TrialTraining) -> list[int]:
    batches = training.run.order.epoch(training.run.position.epoch)
    return [int(i) for batch in batches for i in batch]


def _from_the_start(training: TrialTraining, step: Step) -> Sequence[int]:
    shift = (training.run.position.step - 10) * 8
    whole = _epoch(training)
    return [whole[(shift + i) % 44] for i in range(len(step.indices))]


def _same_epoch(training: TrialTraining, step: Step) -> Sequence[int]:
    here, order = training.run.position, training.run.order
    whole = [int(i) for batch in order.epoch(0) for i in batch]
    start = here.batch * order.effective_batch
    order.epoch(here.epoch)
    return whole[start : start + len(step.indices)]


def _neighbour(_: TrialTraining, step: Step) -> Sequence[int]:
    return [min(i, 42) if i != 5 else 6 for i in step.indices]


def _one_batch_on(training: TrialTraining, step: Step) -> Sequence[int]:
    whole, here = _epoch(training), training.run.position
    start = (here.batch + 1) * 8 % 44
    return (whole * 2)[start : start + len(step.indices)]


OWN: dict[str, tuple[str, Callable[[TrialTraining, Step], Sequence[int]], str]] = {
    "loader-from-the-start": ("the loop's own loader begins the epoch again", _from_the_start,
        "R70, R88"),
    "first-epoch-again": ("the loop's own order is that of the first epoch for ever", _same_epoch,
        "R77, R78, R99"),
    "one-batch-skipped": ("the loop's own loader is one batch ahead", _one_batch_on, "R83, R91"),
    "order-within-the-step": ("the loop takes the samples of a step in another order",
        lambda _training, step: step.indices[::-1], "R91"),
    "neighbour-instead": ("a sample that can't be read is replaced by its neighbour", _neighbour,
        "D8"),
}  # fmt: skip

for name, (sentence, take, source) in OWN.items():
    AREA.fault(name, sentence, "StateMismatch", mechanism="order-of-its-own"
        if name != "neighbour-instead" else "", source=source)(partial(_own, take))  # fmt: skip


@AREA.fault("content-differs-from-the-name", "the loop is given the right names and reads other "
    "content", "replay: loss")  # fmt: skip
def _behind(scene: Scene) -> None:
    def other(training: TrialTraining) -> None:
        training.plan.sample = lambda plan, i: sample_of(plan, (i + 1) % 44)

    scene.plan.after_resume.append(other)


@AREA.fault("augmentation-drifts", "an augmentation draws from a generator of its own, which starts "
    "over", "replay: loss", source="R91")  # fmt: skip
def _augmented(scene: Scene) -> None:
    generator = torch.Generator().manual_seed(1)

    def noisy(plan: TrainingPlan, index: int) -> torch.Tensor:
        tokens = sample_of(plan, index)
        at = int(torch.randint(len(tokens), (), generator=generator))
        tokens[at] = (tokens[at] + 1) % 29
        return tokens

    def start(training: TrialTraining) -> None:
        training.plan.sample = noisy

    scene.plan.after_resume.append(start)


@AREA.fault("micro-batch-larger", "the step is cut into fewer micro-batches: other running "
    "statistics and dropout masks", "replay: micro_batch")  # fmt: skip
def _larger_micro(scene: Scene) -> None:
    scene.plan.micro = 8
