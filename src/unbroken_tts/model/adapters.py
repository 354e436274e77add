"""Puts LoRA adapters of `peft` into a model, and reads the plain weights out of an adapted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from unbroken import SettingsInvalid
from unbroken_tts.model.adapter_config import Strength
from unbroken_tts.model.dropout import Dropout
from unbroken_tts.model.initial_values import initial_values
from unbroken_tts.model.lora import adapter_in, is_of_adapter, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.trained_part import Lora, TrainedPart

_WRAPPED = ".base_layer."


def plain_name(name: str) -> str:
    """Return the name that a parameter has in a model without adapters."""
    return name.replace(_WRAPPED, ".")


def restrict(model: nn.Module, part: TrainedPart) -> None:
    """Add the adapters of a part to a model, and freeze what the part doesn't train.

    Args:
        model: Its parameters have the names of a `gpt.pth`, but for the text tables. On the meta
            device no random number is drawn.
        part: What to train.

    Raises:
        SettingsInvalid: peft is not installed.
    """
    if part.lora is not None:
        _add_adapters(model, part.lora, part.adapted)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_of_adapter(name) or part.trains(plain_name(name)))


def _add_adapters(model: nn.Module, lora: Lora, layers: tuple[str, ...]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise SettingsInvalid(
            f"--lora-rank needs the package peft, which can't be imported: {error}.",
            "It has the adapter layers.",
            "Install the trainer with its packages: pip install 'unbroken[tts]'.",
        ) from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(layers),
        fan_in_fan_out=True,  # the weight of a Conv1D is (inputs, outputs)
        init_lora_weights=False,  # `begin_adapters` does, from the run's seed
    )
    inject_adapter_in_model(config, model)
    for layer in layers if lora.dropout else ():
        # Ours, whose masks are cheap on a processor; peft's own is torch's.
        by_adapter = model.get_submodule(f"{layer}.lora_dropout")
        assert isinstance(by_adapter, nn.ModuleDict)
        by_adapter["default"] = Dropout(lora.dropout)


@torch.no_grad()
def begin_adapters(model: nn.Module, seed: int) -> None:
    """Fill new adapters: A from a seed, B with zeros, so that the model computes what it did.

    A is uniform within 1 / sqrt(inputs), as in peft (Kaiming's rule with a = sqrt(5)).
    """
    found = {name: each for name, each in model.named_parameters() if is_of_adapter(name)}
    values = initial_values(
        {name: tuple(each.shape) for name, each in found.items()}, layers=1, seed=seed
    )
    for name, parameter in found.items():
        parameter.copy_(values[name])


def merged_tensors(tensors: Mapping[str, torch.Tensor], lora: Lora) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapted model under plain names, its adapters merged.

    Args:
        tensors: Those of `named_parameters`, adapters and adapted layers among them.
        lora: What the adapters were made with.
    """
    adapter = adapter_in(tensors, origin="the model")
    plain = {plain_name(name): each for name, each in tensors.items() if not is_of_adapter(name)}
    if adapter is None:
        return plain
    strength = Strength(origin="the run", alpha=lora.alpha, rank=lora.rank)
    return merged(plain, adapter, strength, origin="the model")
