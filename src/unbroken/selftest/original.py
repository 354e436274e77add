"""The nine bugs that users of the earlier trainer are told of, in the order in which they are told."""

from __future__ import annotations

import torch
from torch import nn

from unbroken.checkpoint import disk
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining

AREA = Area("original")


@AREA.fault(
    "evaluation-mode",
    "stuck in eval mode: a validation leaves the model there, and dropout is off from then on",
    "replay: loss",
    source="R68",
)
def _evaluation_mode(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.model.eval())


@AREA.fault(
    "fsync-after-close",
    "fsync after close: a power cut leaves the newest checkpoint with an end that was never written",
    "fell back",
    source="R111, D3",
)
def _fsync_after_close(scene: Scene) -> None:
    path = scene.checkpoint / "model.safetensors"
    content = path.read_bytes()
    disk.replace_file(path, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


@AREA.fault(
    "schedule-out-of-step",
    "scheduler and optimiser out of step: the optimiser goes on, the scheduler begins at 0",
    "learning-rate-continues",
    "rate-is-the-schedules",
    "counters-agree",
    "other-state-identical",
    source="R10, R13",
)
def _out_of_step(scene: Scene) -> None:
    def begin_anew(training: TrialTraining) -> None:
        training.schedule.updates = 0
        training.schedule.apply()

    scene.plan.after_resume.append(begin_anew)


@AREA.fault(
    "reset-after-larger-vocabulary",
    "inconsistent state after a vocabulary mismatch: the weights are taken where they fit, optimiser and "
    "counters as if nothing had happened",
    "vocabulary-size-unchanged",
    source="A9",
)
def _larger_vocabulary(scene: Scene) -> None:
    scene.plan.vocabulary += 4


@AREA.fault(
    "no-loss-validation",
    "no loss validation: the head is initialised over the loaded weights, and nobody compares the loss",
    "weights-identical",
    "probe-loss-reproduced",
    source="R48, B2",
)
def _no_loss_validation(scene: Scene) -> None:
    def initialise(training: TrialTraining) -> None:
        with torch.no_grad():
            nn.init.normal_(training.model.head.weight, std=1.0)

    scene.plan.after_resume.append(initialise)


@AREA.fault(
    "no-learning-rate-validation",
    "no LR validation: the loop sets a learning rate of its own, and nobody compares it with the saved one",
    "learning-rate-continues",
    "rate-is-the-schedules",
    "optimizer-options-unchanged",
    "replay: rate",
    source="B3",
)
def _no_rate_validation(scene: Scene) -> None:
    def set_rate(training: TrialTraining) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = 3 * training.plan.learning_rate

    scene.plan.after_resume.append(set_rate)
    scene.plan.before_update.append(set_rate)


@AREA.fault(
    "gradient-mask-not-set",
    "no check of gradient masking: the mask of the frozen rows is not set again, and they are trained",
    "frozen-rows-out-of-reach",
    "trainable-parameters-unchanged",
    "optimizer-alignment-by-name",
    "replay: update",
    source="B4, C1",
)
def _no_mask(scene: Scene) -> None:
    def train_unmasked(training: TrialTraining) -> None:
        rows = training.model.old_voices
        rows.requires_grad_(True)
        training.optimizer.param_groups[0]["params"].append(rows)

    scene.plan.after_resume.append(train_unmasked)


@AREA.fault(
    "random-states-of-another-gpu-count",
    "random states of another GPU count: the saved ones fit no device here, and the generators begin "
    "somewhere else",
    source="R87, B6",
    setting="loose",
)
def _other_random_states(scene: Scene) -> None:
    def begin_elsewhere(_: TrialTraining) -> None:
        torch.manual_seed(7200)

    scene.plan.after_resume.append(begin_elsewhere)


@AREA.fault(
    "gradients-lost-in-accumulation",
    "gradients lost inside accumulation: a stop between two micro-batches drops those that were in",
    "replay: gradient",
    "accumulation-restored",
    source="R93, C4",
    setting="inside",
)
def _gradients_lost(scene: Scene) -> None:
    def drop(training: TrialTraining) -> None:
        for each in training.model.parameters():
            each.grad = None

    scene.plan.after_resume.append(drop)
