"""Faults of a loop that keeps its own loader: the loader, its sampler, its data set, the loop itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler, default_collate

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, sample_of

AREA = Area("loader")
Sample = tuple[int, torch.Tensor]


class Noisy(Dataset[Sample]):
    """The plan's samples, each with some tokens exchanged at random, as augmentation does.

    Args:
        plan: The program.
        share: Of the tokens that are exchanged.
        order: The sample at each index.
    """

    def __init__(
        self, plan: TrainingPlan, share: float = 0.1, order: Callable[[int], int] = int
    ) -> None:
        self.plan = plan
        self.share = share
        self.order = order

    def __len__(self) -> int:
        return self.plan.samples

    def __getitem__(self, index: int) -> Sample:
        """Return the index, and the tokens of its sample."""
        tokens = self.plan.sample(self.plan, self.order(index))
        is_other = torch.rand(len(tokens)) < self.share
        return index, torch.where(is_other, torch.randint_like(tokens, 29), tokens)


def loader_of(plan: TrainingPlan, **changed: Any) -> DataLoader[Any]:
    """Return the loader of the program: shuffled batches of augmented samples."""
    given = {"dataset": Noisy(plan), "batch_size": plan.effective_batch, "shuffle": True}
    return DataLoader(**{**given, **changed})


def weighted(plan: TrainingPlan, heavy: int = 0) -> DataLoader[Any]:
    """Return a loader whose sampler draws some samples more often."""
    weights = [3.0 if i % 4 == heavy else 1.0 for i in range(plan.samples)]
    sampler = WeightedRandomSampler(weights, plan.samples)
    return loader_of(plan, sampler=sampler, shuffle=False)


def over_a_loader() -> TrainingPlan:
    """A loop over a `DataLoader` that updates and schedules itself."""
    return TrainingPlan(loader=loader_of, build_schedule=falling)


def over_weights() -> TrainingPlan:
    """The same with a weighted sampler."""
    return TrainingPlan(loader=weighted, build_schedule=falling)


def falling(plan: TrainingPlan, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """Return the schedule that the loop moves; PyTorch doesn't save its function."""
    return LambdaLR(optimizer, lambda step: 1 / (1 + step / plan.total))


def _with(scene: Scene, **changed: Any) -> None:
    scene.plan.loader = partial(loader_of, **changed)


LOADERS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "loader-with-another-batch": ("the loader has another batch size",
        ("batch-geometry-unchanged",), {"batch_size": 4}),
    "loader-not-shuffled": ("the loader is not shuffled any more", ("order-unchanged",),
        {"shuffle": False}),
    "loader-drops-the-last": ("the loader drops the last batch", ("order-unchanged",),
        {"drop_last": True}),
}  # fmt: skip

for name, (sentence, causes, changed) in LOADERS.items():

    def _changed(changed: dict[str, Any], scene: Scene) -> None:
        _with(scene, **changed)

    AREA.fault(name, sentence, *causes, setting="loader")(partial(_changed, changed))


@AREA.fault("loader-seeded-otherwise", "the program is seeded otherwise", "order-unchanged",
            setting="loader")  # fmt: skip
def _seeded_otherwise(scene: Scene) -> None:
    scene.plan.seed = 8


@AREA.fault("loader-data-reversed", "the data set is read from its end", "last-batch-identical",
            setting="loader")  # fmt: skip
def _reversed(scene: Scene) -> None:
    order = partial(lambda last, i: last - i, scene.plan.samples - 1)
    scene.plan.loader = lambda plan: loader_of(plan, dataset=Noisy(plan, order=order))


@AREA.fault("loader-data-longer", "the data set has a sample more", "order-unchanged",
            "data-set-unchanged", "next-samples-identical", setting="loader")  # fmt: skip
def _longer(scene: Scene) -> None:
    scene.plan.samples = 45


@AREA.fault("loader-augments-otherwise", "the augmentation is stronger", "last-batch-identical",
            setting="loader")  # fmt: skip
def _augmented(scene: Scene) -> None:
    scene.plan.loader = lambda plan: loader_of(plan, dataset=Noisy(plan, share=0.3))


@AREA.fault("loader-collates-otherwise", "the collate function cuts the samples",
            "last-batch-identical", setting="loader")  # fmt: skip
def _collated(scene: Scene) -> None:
    _with(scene, collate_fn=lambda batch: default_collate([(i, t[:-1]) for i, t in batch]))


@AREA.fault("loader-edited-sample", "one sample is another one", "facts-unchanged",
            "last-batch-identical", "data-set-unchanged", setting="loader")  # fmt: skip
def _edited(scene: Scene) -> None:
    scene.plan.sample = lambda plan, i: sample_of(plan, 40 if i == 3 else i)


@AREA.fault("sampler-weighted-otherwise", "the sampler has other weights", "next-samples-identical",
            setting="weighted loader")  # fmt: skip
def _weighted_otherwise(scene: Scene) -> None:
    scene.plan.loader = partial(weighted, heavy=1)


@AREA.fault("sampler-left-out", "the weighted sampler is gone", "order-unchanged",
            setting="weighted loader")  # fmt: skip
def _without_weights(scene: Scene) -> None:
    scene.plan.loader = loader_of


@AREA.fault("schedule-of-the-loop-falls-faster", "the curve of the loop's schedule falls faster",
            "schedule-unchanged", "learning-rate-continues", setting="loader")  # fmt: skip
def _faster_schedule(scene: Scene) -> None:
    def build(plan: TrainingPlan, optimizer: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: 1 / (1 + 3 * step / plan.total))

    scene.plan.build_schedule = build


@AREA.fault("loop-keeps-its-gradients", "the loop doesn't zero gradients any more",
            "replay: gradient", "replay: backward", setting="loader")  # fmt: skip
def _kept_gradients(scene: Scene) -> None:
    scene.replace(torch.optim.AdamW, "zero_grad", lambda *_, **__: None)


@AREA.fault("loop-updates-every-second-batch", "the loop gathers gradients over two batches",
            "replay: update", "replay: accumulation", setting="loader")  # fmt: skip
def _gathers(scene: Scene) -> None:
    step, calls = torch.optim.AdamW.step, count(1)

    def every_second(self: torch.optim.AdamW, *given: Any) -> Any:
        return step(self, *given) if next(calls) % 2 == 0 else None

    scene.replace(torch.optim.AdamW, "step", every_second)


@AREA.fault("loop-measures-and-stays-so", "the loop leaves the model in evaluation mode",
            "replay: loss", setting="loader")  # fmt: skip
def _evaluating(scene: Scene) -> None:
    def evaluate(training: TrialTraining) -> None:
        training.model.eval()

    scene.plan.before_step.append(evaluate)
