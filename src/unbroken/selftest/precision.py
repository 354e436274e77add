"""Faults of number formats: weights that pass through a coarser one, scalers that forget."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from unbroken.selftest.base import scaler_of
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining

AREA = Area("precision")
OUTPUT = ("replay: loss", "replay: update", "weights-identical")


def _through(dtype: torch.dtype, only: str, scene: Scene) -> None:
    @torch.no_grad()
    def cast(training: TrialTraining) -> None:
        for name, each in training.model.named_parameters():
            if only in name:
                each.copy_(each.to(dtype))

    scene.plan.after_resume.append(cast)


for dtype, seen in ((torch.bfloat16, "R44"), (torch.float16, "R46")):
    short = str(dtype).removeprefix("torch.")
    AREA.fault(
        f"weights-through-{short}",
        f"the weights pass through {short} after the resume",
        *OUTPUT,
        mechanism="weights-through-a-coarser-format",
        source=seen,
    )(partial(_through, dtype, ""))
    AREA.fault(
        f"one-norm-through-{short}",
        f"the weight of one LayerNorm passes through {short}",
        *OUTPUT,
        mechanism="weights-through-a-coarser-format",
        source=seen,
    )(partial(_through, dtype, "norm_net.weight"))


@AREA.fault("model-in-bf16", "the model is built in bf16", "model-leaves-complete", source="R49")
def _model_in_bf16(scene: Scene) -> None:
    build = scene.plan.build_model
    scene.plan.build_model = lambda plan: build(plan).to(torch.bfloat16)


@AREA.fault("head-in-half", "one layer is cast to another format after the resume", *OUTPUT,
    "replay: gradient", "RuntimeError", source="R49")  # fmt: skip
def _head_in_half(scene: Scene) -> None:
    def cast(training: TrialTraining) -> None:
        forward = training.model.block.down.forward
        training.model.block.down.forward = lambda given: forward(given.bfloat16().float())

    scene.plan.after_resume.append(cast)


@AREA.fault("scaler-not-loaded", "the loss scaler begins at its first scale again, which is so "
    "small that gradients vanish in part", "other-state-identical", source="R39, R40", setting="torch")  # fmt: skip
def _scaler_not_loaded(scene: Scene) -> None:
    scene.replace(torch.amp.GradScaler, "load_state_dict", lambda _self, _state: None)
    scene.plan.build_scaler = partial(scaler_of, 3e-39)


@AREA.fault("scaler-rebuilt", "the loss scaler is built anew after the resume, far too small",
    "replay: loss", "replay: gradient", "replay: update", mechanism="scaler-not-loaded",
    source="R40", setting="torch")  # fmt: skip
def _scaler_rebuilt(scene: Scene) -> None:
    def anew(training: TrialTraining) -> None:
        training.run.updater.scaler = scaler_of(3e-39, scene.plan)

    scene.plan.after_resume.append(anew)


@AREA.fault("autocast-added", "the forward pass runs in bf16 after the resume", *OUTPUT)
def _autocast(scene: Scene) -> None:
    def wrap(training: TrialTraining) -> None:
        forward = training.model.forward

        def cast(*given: Any) -> Any:
            with torch.autocast(scene.plan.kind_of_device, torch.bfloat16):
                return forward(*given).float()

        training.model.forward = cast

    scene.plan.after_resume.append(wrap)
