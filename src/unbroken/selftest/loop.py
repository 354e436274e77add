"""Faults of the loop: gradients, accumulation, clipping, the loss, what is done between steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining, cross_entropy

AREA = Area("loop")
LATER = ("replay: update", "replay: loss")


def _loss(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], scene: Scene) -> None:
    def changed(_: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return change(logits, targets)

    scene.plan.loss = changed


LOSSES: dict[str, tuple[str, Callable[[Any, Any], Any], str]] = {
    "loss-not-divided": ("the loss is not divided by the number of micro-batches any more",
        lambda logits, targets: 2 * cross_entropy(logits, targets), "R96"),
    "loss-half": ("the loss is divided once too often",
        lambda logits, targets: 0.5 * cross_entropy(logits, targets), "R96"),
    "loss-smoothed": ("the loss is computed with label smoothing", lambda logits, targets:
        torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum",
        label_smoothing=0.1) / targets.shape[1], ""),
    "targets-shifted": ("the targets are shifted by one", lambda logits, targets:
        cross_entropy(logits, targets.roll(1, 1)), ""),
    "last-token-left-out": ("the last token counts no more", lambda logits, targets:
        cross_entropy(logits[:, :-1], targets[:, :-1]), "C7"),
}  # fmt: skip

for name, (sentence, loss, source) in LOSSES.items():
    AREA.fault(name, sentence, "replay: loss", mechanism="loss-computed-otherwise"
        if "divided" not in name and "half" not in name else "loss-scaled",
        source=source)(partial(_loss, loss))  # fmt: skip


def _before_update(change: Callable[[TrialTraining], Any], scene: Scene) -> None:
    def hook(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    scene.plan.before_update.append(hook)


def _gradients(training: TrialTraining) -> list[torch.Tensor]:
    return [each.grad for each in training.model.parameters() if each.grad is not None]


GRADIENTS: dict[str, tuple[str, Callable[[TrialTraining], Any], str]] = {
    "gradients-one-percent": ("the gradients are one per cent larger",
        lambda it: [each.mul_(1.01) for each in _gradients(it)], "R96"),
    "gradients-halved": ("the gradients are averaged once too often",
        lambda it: [each.mul_(0.5) for each in _gradients(it)], "R96"),
    "gradient-of-a-layer-lost": ("one layer gets no gradient",
        lambda it: it.model.block.up.weight.grad.zero_(), "R68"),
    "gradients-through-bf16": ("the gradients pass through bf16",
        lambda it: [each.copy_(each.bfloat16()) for each in _gradients(it)], "R44"),
    "gradient-noise": ("noise is added to the gradients",
        lambda it: [each.add_(1e-3 * torch.randn_like(each)) for each in _gradients(it)], ""),
}  # fmt: skip

for name, (sentence, change, source) in GRADIENTS.items():
    AREA.fault(name, sentence, "replay: gradient", mechanism="gradients-scaled"
        if "percent" in name or "halved" in name else "", source=source)(
        partial(_before_update, change))  # fmt: skip


def _after_step(change: Callable[[TrialTraining], Any], scene: Scene) -> None:
    def hook(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    scene.plan.after_step.append(hook)


AFTER: dict[str, tuple[str, Callable[[TrialTraining], Any], str]] = {
    "weights-decayed-in-the-loop": ("the loop decays the weights itself, on top",
        lambda it: [each.mul_(0.999) for each in it.model.parameters()], "C1"),
    "weights-clamped": ("the weights are clamped after each step",
        lambda it: [each.clamp_(-0.2, 0.2) for each in it.model.parameters()], ""),
    "average-copied-for-validation": ("the averaged weights are copied in for validation and stay",
        lambda it: [a.copy_(b) for a, b in zip(it.model.parameters(), it.ema.module.parameters(),
        strict=True)], "R62"),
    "frozen-rows-decay-in-the-loop": ("frozen rows shrink a little after each step",
        lambda it: it.model.old_voices.mul_(0.999), "C1"),
    "momentum-reset-each-step": ("the optimiser's state is dropped after each step",
        lambda it: it.optimizer.state.clear(), "R34"),
    "evaluation-after-each-step": ("a validation after each step leaves the model in evaluation mode",
        lambda it: it.model.eval(), "R68"),
}  # fmt: skip

for name, (sentence, change, source) in AFTER.items():
    AREA.fault(name, sentence, *LATER, source=source)(partial(_after_step, change))


def _clip(norm: float, scene: Scene) -> None:
    def change(training: TrialTraining) -> None:
        training.plan.clip = norm

    scene.plan.after_resume.append(change)


for norm in (0.0, 0.1):
    AREA.fault(f"clipped-at-{norm:g}", f"gradients are clipped at another norm ({norm:g}; 0 is none)",
        *LATER, mechanism="clipping")(partial(_clip, norm))  # fmt: skip


@AREA.fault("clipping-asked-otherwise", "the command asks for another clipping norm",
    "settings-unchanged", mechanism="clipping")  # fmt: skip
def _clip_asked(scene: Scene) -> None:
    scene.plan.clip = 0.1


@AREA.fault("partial-gradients-lost", "the gradients of a begun step are dropped after the resume",
    "replay: gradient", "accumulation-restored", source="R93, C4", setting="inside")  # fmt: skip
def _partial_lost(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.optimizer.zero_grad(set_to_none=True))


@AREA.fault("partial-gradients-twice", "the gradients of a begun step count twice",
    "replay: gradient", "accumulation-restored", source="C4", setting="inside")  # fmt: skip
def _partial_twice(scene: Scene) -> None:
    def double(training: TrialTraining) -> None:
        for each in _gradients(training):
            each.mul_(2.0)

    scene.plan.after_resume.append(double)


@AREA.fault("partial-sums-lost", "the sums of a begun step are dropped after the resume",
    "replay: loss", "accumulation-restored", source="C9", setting="inside")  # fmt: skip
def _sums_lost(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.run.state.sums.clear())


@AREA.fault("begun-step-from-its-start", "a begun step is trained from its start again, on top",
    "replay: loss", "replay: gradient", "accumulation-restored", source="R93",
    setting="inside")  # fmt: skip
def _begun_again(scene: Scene) -> None:
    def back(training: TrialTraining) -> None:
        training.run.state.position = replace(training.run.state.position, samples=0)

    scene.plan.after_resume.append(back)


@AREA.fault("position-moved", "the run's position is moved on by a step after the resume",
    "replay: samples", source="R79, R81")  # fmt: skip
def _moved(scene: Scene) -> None:
    def on(training: TrialTraining) -> None:
        here = training.run.state.position
        training.run.state.position = replace(here, batch=(here.batch + 1) % 5)

    scene.plan.after_resume.append(on)
