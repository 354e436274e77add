"""What a start begins with anew, as the source tells it: plain variables that the loop carries on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import torch

from unbroken.protection.carried import Carried
from unbroken.protection.chosen_loader import resolved
from unbroken.protection.found import FoundObjects

_CAN_BE_KEPT: Final = ("bool", "int", "float", "str", "list", "dict", "NoneType", "Tensor")
IN_THE_MIDDLE: Final = "where an epoch is resumed in its middle"


@dataclass(frozen=True, slots=True)
class Anew:
    """Something that no checkpoint has."""

    expression: str
    what: str
    """What it is, and when it is lost."""
    can_be_kept: bool = False
    """Whether `unbroken.Values` can hold it."""


def begun_anew(
    carried: Carried, variables: Mapping[str, Any], found: FoundObjects
) -> Iterator[Anew]:
    """Yield what the loop carries on, and no part saves.

    Args:
        carried: What it carries on, by its source.
        variables: When it begins.
        found: What is saved.
    """
    saved = [each.value for each in (*found.saved(), *found.loaders)]
    for expression in sorted(carried.between):
        value = resolved(expression, variables)
        holders = [resolved(each, variables) for each in _holders(expression)]
        if any(one is each for one in (value, *holders) for each in saved):
            continue
        if isinstance(value, ModuleType) or callable(value):
            continue  # such as nn.utils.clip_grad_norm_
        if expression.partition(".")[0] in variables:
            kind = _kind(value)
            yield Anew(expression, kind, can_be_kept=kind in _CAN_BE_KEPT)
    for each in found.saved():
        if each.expression in carried.assigned and each in found.parts:
            yield Anew(
                each.expression, "the objects that the loop assigns to it; only this one is saved"
            )
    for expression, function in sorted(carried.within.items()):
        where = f"in {function}(), " if function else ""
        yield Anew(expression, f"{where}{IN_THE_MIDDLE}")
    for optimizer in found.optimizers:
        if _has_unknown_schedule(optimizer.value, found):
            yield Anew(f"a schedule of {optimizer.expression}", "it was not found")


def _has_unknown_schedule(optimizer: Any, found: FoundObjects) -> bool:
    """Say whether a schedule of PyTorch was made of an optimizer, and none was found."""
    has_schedule = any("initial_lr" in group for group in optimizer.param_groups)
    return has_schedule and not any(
        getattr(each.value, "optimizer", None) is not None or hasattr(each.value, "get_last_lr")
        for each in found.parts
    )


def _holders(expression: str) -> Iterator[str]:
    """Yield the expressions in which one is an attribute."""
    names = expression.split(".")
    for length in range(len(names) - 1, 0, -1):
        yield ".".join(names[:length])


def _kind(value: Any) -> str:
    if isinstance(value, io.IOBase):
        return "open file"
    return "Tensor" if isinstance(value, torch.Tensor) else type(value).__name__
