"""Faults written by somebody who had not read the checks: the optimiser, the rate, the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unbroken.selftest.blind import resumed
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining, cross_entropy

AREA = Area("blind")
SMALL = "replay: loss", "replay: update"


def _each(
    hooks: list[Callable[[TrialTraining], None]], change: Callable[[TrialTraining], Any]
) -> None:
    def hook(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    hooks.append(hook)


def _gradients(training: TrialTraining) -> list[torch.Tensor]:
    return [each.grad for each in training.model.parameters() if each.grad is not None]


def _options(training: TrialTraining, **options: Any) -> None:
    for group in training.optimizer.param_groups:
        group.update(options)


@AREA.fault("rate-shared-by-groups", "the groups hold their rate in one tensor; the last one wins",
    "rate-is-the-schedules", "replay: rate", "replay: update")  # fmt: skip
def _shared_rate(scene: Scene) -> None:
    def share(training: TrialTraining) -> None:
        shared = torch.tensor(float(training.optimizer.param_groups[0]["lr"]))
        _options(training, lr=shared)

    resumed(scene, share)


@AREA.fault("fused-update", "the optimiser is asked to update with its fused code",
    "optimizer-options-unchanged", "replay: update")  # fmt: skip
def _fused(scene: Scene) -> None:
    resumed(scene, lambda training: _options(training, fused=True, foreach=False))


@AREA.fault("decay-coupled", "an option of an older version makes weight decay part of the gradient",
    "optimizer-options-unchanged", "replay: update")  # fmt: skip
def _coupled(scene: Scene) -> None:
    resumed(scene, lambda training: _options(training, decoupled_weight_decay=False))


@AREA.fault("nesterov", "momentum becomes Nesterov's", "optimizer-options-unchanged",
    "replay: update", setting="torch")  # fmt: skip
def _nesterov(scene: Scene) -> None:
    resumed(scene, lambda training: _options(training, nesterov=True))


@AREA.fault("step-counter-shared", "all parameters count their updates in one tensor",
    "replay: update")  # fmt: skip
def _shared_counter(scene: Scene) -> None:
    def share(training: TrialTraining) -> None:
        states = list(training.optimizer.state.values())
        for each in states:
            each["step"] = states[0]["step"]

    resumed(scene, share)


@AREA.fault("decay-follows-the-rate", "a second schedule lowers the weight decay with the rate",
    "replay: update")  # fmt: skip
def _decay_scheduled(scene: Scene) -> None:
    def lower(training: TrialTraining) -> None:
        training.optimizer.param_groups[0]["weight_decay"] *= 0.9

    _each(scene.plan.before_update, lower)


@AREA.fault("slow-weights-forgotten", "the slow weights of a lookahead begin at the resume",
    *SMALL)  # fmt: skip
def _lookahead(scene: Scene) -> None:
    def install(training: TrialTraining) -> None:
        slow = [each.clone() for each in training.model.parameters()]

        def pull(*_: Any) -> None:
            with torch.no_grad():
                for mine, each in zip(slow, training.model.parameters(), strict=True):
                    each.copy_(mine.lerp_(each, 0.5))

        training.optimizer.register_step_post_hook(pull)

    resumed(scene, install)


@AREA.fault("wrapper-accumulates", "a wrapper counts accumulation itself: every second update is lost",
    "replay: update")  # fmt: skip
def _wrapper(scene: Scene) -> None:
    def install(training: TrialTraining) -> None:
        plain, calls = training.optimizer.step, [0]

        def step(*_: Any, **__: Any) -> None:
            calls[0] += 1
            if calls[0] % 2 == 0:
                plain()

        training.optimizer.step = step

    resumed(scene, install)


@AREA.fault("gradients-never-cleared", "a wrapper's zero_grad does nothing", "replay: gradient")
def _uncleared(scene: Scene) -> None:
    resumed(scene, lambda it: setattr(it.optimizer, "zero_grad", lambda **_: None))


@AREA.fault("cleared-in-the-inner-loop", "gradients are cleared before each micro-batch",
    "replay: gradient")  # fmt: skip
def _cleared(scene: Scene) -> None:
    def loss(training: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        training.optimizer.zero_grad()
        return cross_entropy(logits, targets)

    scene.plan.loss = loss


@AREA.fault("clipped-one-by-one", "each gradient is clipped by its own norm", "replay: update")
def _one_by_one(scene: Scene) -> None:
    plain = torch.nn.utils.clip_grad_norm_

    def clip(parameters: Any, limit: float) -> torch.Tensor:
        norms = torch.stack([plain([each], 0.3 * limit) for each in list(parameters)])
        norm: torch.Tensor = torch.linalg.vector_norm(norms)
        return norm

    scene.replace(torch.nn.utils, "clip_grad_norm_", clip)


@AREA.fault("clipped-by-value", "gradients are clipped by value too", "replay: gradient")
def _by_value(scene: Scene) -> None:
    _each(scene.plan.before_update, lambda it: [g.clamp_(-0.02, 0.02) for g in _gradients(it)])


@AREA.fault("clipped-before-unscaling", "gradients are clipped while the loss scale is still in them",
    "replay: gradient", setting="torch")  # fmt: skip
def _scaled_clip(scene: Scene) -> None:
    _each(scene.plan.before_update,
        lambda it: torch.nn.utils.clip_grad_norm_(it.model.parameters(), 1.0))  # fmt: skip


@AREA.fault("unscaled-twice", "the loss scale is taken off the gradients twice", "replay: gradient",
    setting="torch")  # fmt: skip
def _unscaled(scene: Scene) -> None:
    _each(scene.plan.before_update,
        lambda it: [each.div_(it.scaler.get_scale()) for each in _gradients(it)])  # fmt: skip


@AREA.fault("average-shares-memory", "the average of the weights is a view of the weights",
    "other-state-identical", "replay: update")  # fmt: skip
def _view(scene: Scene) -> None:
    def share(training: TrialTraining) -> None:
        pairs = zip(training.ema.module.parameters(), training.model.parameters(), strict=True)
        for mine, its in pairs:
            mine.data = its.data

    resumed(scene, share)


@AREA.fault("average-starts-over", "the average forgets how many weights it has seen",
    "other-state-identical", "replay: update")  # fmt: skip
def _average_again(scene: Scene) -> None:
    resumed(scene, lambda training: training.ema.n_averaged.zero_())


@AREA.fault("average-twice", "the hook that updates the average is installed twice",
    "replay: update")  # fmt: skip
def _average_twice(scene: Scene) -> None:
    _each(scene.plan.after_step, lambda it: it.ema.update_parameters(it.model))


@AREA.fault("plateau-forgotten", "the best loss is forgotten, and a plateau is seen eight steps later: "
    "the rate is halved", "replay: rate", "rate-is-the-schedules", "watch")  # fmt: skip
def _plateau(scene: Scene) -> None:
    steps: list[int] = []

    def halve(training: TrialTraining) -> None:
        steps.append(1)
        if len(steps) >= 8:
            for group in training.optimizer.param_groups:
                group["lr"] *= 0.5

    _each(scene.plan.before_step, halve)


@AREA.fault("wrong-best-restored", "the loop goes back to the best weights; the first seen after the "
    "resume count as that", "replay: loss", "replay: update")  # fmt: skip
def _best(scene: Scene) -> None:
    best: list[torch.Tensor] = []

    def restore(training: TrialTraining) -> None:
        weights = list(training.model.parameters())
        if not best:
            best.extend(each.clone() for each in weights)
        if training.run.position.step == 14:
            for each, kept in zip(weights, best, strict=True):
                each.copy_(kept)

    _each(scene.plan.before_step, restore)


@AREA.fault("late-validation", "the first validation comes long after the resume, and leaves the model "
    "in evaluation mode", "training-mode-unchanged", "watch")  # fmt: skip
def _late(scene: Scene) -> None:
    def evaluate(training: TrialTraining) -> None:
        if training.run.position.step == 18:
            training.model.eval()

    _each(scene.plan.after_step, evaluate)


@AREA.fault("validation-in-bfloat16", "a validation casts the weights to bfloat16 and back", *SMALL)
def _cast(scene: Scene) -> None:
    def cast(training: TrialTraining) -> None:
        if training.run.position.step == 12:
            for each in training.model.parameters():
                each.copy_(each.bfloat16())

    _each(scene.plan.after_step, cast)


@AREA.fault("thaw-counted-anew", "the stage in which the table is frozen is counted from the resume",
    "replay: gradient", "replay: update")  # fmt: skip
def _thaw(scene: Scene) -> None:
    steps: list[int] = []

    def freeze(training: TrialTraining) -> None:
        steps.append(1)
        training.model.tokens.weight.requires_grad_(len(steps) > 3)

    _each(scene.plan.before_step, freeze)
