"""The trainings into which faults are injected: each trained, saved, and killed some steps later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint import disk
from unbroken.checkpoint.system import System
from unbroken.run.step import Step
from unbroken.selftest.brought import brought
from unbroken.selftest.loaders import over_a_loader, over_weights
from unbroken.selftest.training import TrainingPlan, TrialTraining, build, sample_of, train

SAVED_AT = 10
"""Steps completed at the newest checkpoint; another one is at half as many."""
KILLED_AT = 16
"""Steps completed at the kill; those beyond the checkpoint are repeated."""
STEPS_AFTER = 20
"""Steps to train after the resume."""


def own() -> TrainingPlan:
    """AdamW with two groups, and `unbroken.Schedule`."""
    return TrainingPlan()


def of_torch() -> TrainingPlan:
    """SGD with momentum, PyTorch's chained schedules, a loss scaler."""
    return TrainingPlan(
        learning_rate=0.05,
        build_optimizer=lambda plan, model: torch.optim.SGD(
            [each for each in model.parameters() if each.requires_grad],
            lr=plan.learning_rate,
            momentum=0.9,
            weight_decay=0.01,
        ),
        build_schedule=chained_schedules,
        build_scaler=partial(scaler_of, 256.0),
    )


def scaler_of(scale: float, plan: TrainingPlan) -> torch.amp.GradScaler:
    """Return a loss scaler that grows often."""
    return torch.amp.GradScaler(plan.kind_of_device, init_scale=scale, growth_interval=4)


def chained_schedules(plan: TrainingPlan, optimizer: Any) -> Any:
    """Return warm-up and cosine as two chained PyTorch schedules."""
    of_torch = torch.optim.lr_scheduler
    warmup = of_torch.LinearLR(optimizer, 0.2, total_iters=plan.warmup)
    cosine = of_torch.CosineAnnealingLR(optimizer, plan.total - plan.warmup)
    return of_torch.SequentialLR(optimizer, [warmup, cosine], [plan.warmup])


def loose() -> TrainingPlan:
    """Like `own`, but without checks the order is drawn from the global generator."""
    return TrainingPlan(unchecked_order=GlobalShuffle)


class GlobalShuffle:
    """The order of a shuffling loader: each epoch's permutation is drawn when the epoch begins.

    It draws its seed from the global generator when it is made, before the first step.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator()
        self._generator.manual_seed(int(torch.randint(2**31, ())))
        self._epochs: dict[int, list[int]] = {}

    def __call__(self, training: TrialTraining, step: Step) -> list[int]:
        """Return the samples of a step; an interrupted epoch continues in its saved order."""
        here, order = training.run.position, training.run.order
        if here.epoch == SAVED_AT // order.steps_per_epoch:
            return list(step.indices)
        if here.epoch not in self._epochs:
            drawn = torch.randperm(len(order.ids), generator=self._generator)
            self._epochs[here.epoch] = drawn.tolist()
        start = here.batch * order.effective_batch
        return self._epochs[here.epoch][start : start + len(step.indices)]


def inside() -> TrainingPlan:
    """Like `own`, but saved in the middle of a step, with its partial gradients."""
    return TrainingPlan()


SETTINGS: dict[str, Callable[[], TrainingPlan]] = {
    "own": own,
    "torch": of_torch,
    "loose": loose,
    "inside": inside,
    "brought": brought,
    "loader": over_a_loader,
    "weighted loader": over_weights,
}
"""The programs whose runs are resumed, by name."""


def make_base(setting: str, directory: Path, device: str = "cpu") -> None:
    """Train a setting, save, train on, and stop as if killed."""
    first = SETTINGS[setting]()
    first.device, first.save_every = device, SAVED_AT // 2
    training = build(first, directory)
    training.run.resume()
    train(training, SAVED_AT)
    training.run.save()
    training.run.close()
    second = SETTINGS[setting]()
    second.device = device
    training = build(second, directory)
    if setting == "inside":
        second.sample = partial(_save_inside, training)
    training.run.resume()
    train(training, KILLED_AT)
    training.run.close()


def _save_inside(training: TrialTraining, plan: TrainingPlan, index: int) -> torch.Tensor:
    """Save between two micro-batches, before the forward pass, which changes running statistics."""
    here = training.run.position
    if here.step == SAVED_AT and here.samples:
        training.run.save()
    return sample_of(plan, index)


class WithoutSyncs(System):
    """A disk without fsync, since nothing here has to survive a power cut."""

    def sync(self, descriptor: int) -> None:
        """Do nothing."""

    def sync_directory(self, path: Path) -> None:
        """Do nothing."""


def copy_tree(source: Path, target: Path) -> None:
    """Copy a run's directory."""
    disk.make_new_directory(target)
    for each in source.iterdir():
        if each.is_dir():
            copy_tree(each, target / each.name)
        else:
            disk.write_new_file(target / each.name, [each.read_bytes()])
