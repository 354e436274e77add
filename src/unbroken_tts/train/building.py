"""Builds model, optimiser, schedule, scaler and moving average from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbroken import Schedule, warmup_cosine
from unbroken_tts.hardware import Hardware, PrecisionPlan
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy
from unbroken_tts.settings import TrainSettings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The live objects of a training."""

    model: VoiceGpt
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler | None
    ema: AveragedModel | None


def build(
    settings: TrainSettings,
    model: VoiceGpt,
    hardware: Hardware,
    precision: PrecisionPlan,
    total_updates: int,
) -> Built:
    """Move the model to its device and build what trains it.

    Args:
        settings: The settings to train with.
        model: The model, in host memory.
        hardware: Where to train.
        precision: The precision to compute in.
        total_updates: Updates of the whole run, for the schedule.
    """
    model = model.to(hardware.device)
    optimizer = torch.optim.AdamW(
        parameter_groups(model, settings),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    curve = warmup_cosine if settings.schedule == "cosine" else warmup_cosine_legacy
    schedule = Schedule(
        optimizer,
        curve(settings.warmup_steps, total_updates),
        {
            "curve": settings.schedule,
            "warmup": settings.warmup_steps,
            "total": total_updates,
        },
    )
    scaler = torch.amp.GradScaler(hardware.device.split(":")[0]) if precision.has_scaler else None
    return Built(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        scaler=scaler,
        ema=_ema(settings, model),
    )


def _ema(settings: TrainSettings, model: VoiceGpt) -> AveragedModel | None:
    if not settings.ema_decay:
        return None
    average = get_ema_multi_avg_fn(settings.ema_decay)
    return AveragedModel(model, multi_avg_fn=average)


def parameter_groups(model: VoiceGpt, settings: TrainSettings) -> list[dict[str, Any]]:
    """Sort the parameters into named groups.

    Frozen ones are in none. `decayed` are the weight matrices of the transformer and the heads, and
    adapters; `plain` are biases, norms
    and embeddings; `new_rows` are the rows of an extended vocabulary, which never decay. With
    `--decay all` everything but the new rows decays, as in the earlier trainer.
    """
    new_rows = {
        id(parameter)
        for module in (model.text_embedding, model.text_head)
        for parameter in module.parameters()
        if model.frozen_rows
    }
    if model.lang_embedding is not None:
        new_rows |= {id(parameter) for parameter in model.lang_embedding.parameters()}
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    } | {id(parameter) for parameter in model.text_embedding.parameters()}
    sorted_by_group: dict[str, list[nn.Parameter]] = {"decayed": [], "plain": [], "new_rows": []}
    for parameter in (each for each in model.parameters() if each.requires_grad):
        is_matrix = parameter.dim() >= 2 and id(parameter) not in embeddings
        if id(parameter) in new_rows:
            sorted_by_group["new_rows"].append(parameter)
        elif is_matrix or settings.decay == "all":
            sorted_by_group["decayed"].append(parameter)
        else:
            sorted_by_group["plain"].append(parameter)
    options: dict[str, dict[str, Any]] = {
        "decayed": {},
        "plain": {"weight_decay": 0.0},
        "new_rows": {
            "weight_decay": 0.0,
            "lr": settings.learning_rate * settings.new_rows_lr_scale,
        },
    }
    return [
        {"name": name, "params": parameters, **options[name]}
        for name, parameters in sorted_by_group.items()
        if parameters
    ]
