"""Models that PyTorch keeps alike on all ranks, and the order in which their gradients are reduced.

`DistributedDataParallel` reduces gradients in buckets. After its first backward pass it fills the buckets
anew, in the order in which the gradients came. How a sum over three or more ranks is rounded depends on
where a number lies in its bucket. A start that resumes would make its first step with the first buckets
again, and end with other bits. So the order is saved, and a resume has the buckets filled that way before
its first step: by a backward pass that touches each parameter in that order, with gradients of zero.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from unbroken.tree import unwrap

ORDER: Final = "reduction_order"
"""Evidence of a checkpoint: by the model's name, the order in which its gradients came first."""


class Replicas:
    """The replicated models of a run.

    Args:
        models: What `Run(...)` was given, by part name, with or without their wrappers; objects of other
            kinds are left out.
    """

    def __init__(self, models: Mapping[str, Any]) -> None:
        self._modules = {
            f"{name}.{path}" if path else name: each
            for name, model in models.items()
            if isinstance(model, nn.Module)
            for path, each in unwrap(model).named_modules()
        }
        self._models: dict[str, DistributedDataParallel] = {}
        self._orders: dict[str, list[int]] = {}
        self._hooks: dict[str, list[RemovableHandle]] = {}

    def __bool__(self) -> bool:
        """Say whether there are some."""
        return bool(self._models)

    def find(self) -> None:
        """Find the wrappers around the models: the run may have been given what is inside of them."""
        names = {id(each): name for name, each in self._modules.items()}
        for each in gc.get_objects():
            # Asked for its class, an object of the program's may do anything.
            if issubclass(type(each), DistributedDataParallel) and id(unwrap(each)) in names:
                self._models[names[id(unwrap(each))]] = each

    def evidence(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of them."""
        return {ORDER: {n: list(each) for n, each in self._orders.items()}} if self._models else {}

    def begin(self, saved: Mapping[str, Any]) -> list[str]:
        """Fill the buckets as they were at the save, or note how they are filled the first time.

        Every rank calls this at the same place.

        Args:
            saved: Evidence of the checkpoint that is resumed; empty where a run begins.

        Returns:
            What a person should know.
        """
        notes = []
        for name, model in self._models.items():
            order = saved.get(ORDER, {}).get(name, [])
            if not _fills_buckets_anew(model):
                notes += _of_others(name, model)
                continue
            if order:
                self._orders[name] = list(order)
                _fill(model, [_reduced(model)[number] for number in order])
            else:
                self._listen(name, model)
        return notes

    def step_done(self) -> None:
        """Listen no more where each gradient has come."""
        for name, model in self._models.items():
            if name in self._hooks and len(self._orders.get(name, ())) == len(_reduced(model)):
                for each in self._hooks.pop(name):
                    each.remove()

    def _listen(self, name: str, model: DistributedDataParallel) -> None:
        came = self._orders.setdefault(name, [])

        def note(number: int) -> None:
            if model.require_backward_grad_sync and number not in came:
                came.append(number)

        self._hooks[name] = [
            each.register_post_accumulate_grad_hook(lambda _, number=number: note(number))
            for number, each in enumerate(_reduced(model))
        ]


def _fills_buckets_anew(model: DistributedDataParallel) -> bool:
    """Say whether PyTorch does so, and nothing of the program's own takes part in a reduction."""
    return not (model.find_unused_parameters or model.static_graph or model._comm_hooks)  # noqa: SLF001  # no public name


def _of_others(name: str, model: DistributedDataParallel) -> list[str]:
    """Warn of a model whose gradients a start that resumes reduces in another order than the one before."""
    if distributed.get_world_size() < 3 or (
        model.find_unused_parameters and not model.static_graph
    ):
        return []
    return [
        (
            f"WARNING: {name} has a static graph or a communication hook: after a resume three or more ranks round "
            "the first step otherwise, and a replay may say DIVERGED (docs/distributed.md)"
        )
    ]


def _reduced(model: DistributedDataParallel) -> list[nn.Parameter]:
    ignored: set[str] = getattr(model, "parameters_to_ignore", set())
    return [
        each
        for name, each in model.module.named_parameters()
        if each.requires_grad and name not in ignored
    ]


def _fill(model: DistributedDataParallel, ordered: Sequence[nn.Parameter]) -> None:
    """Have gradients of zero come in an order; those that are there stay as they are."""
    held = [each.grad for each in ordered]
    inner, synced = model.module, model.require_forward_param_sync
    for each in ordered:
        each.grad = None
    model.module, model.require_forward_param_sync = _Touched(ordered), False
    try:
        with torch.enable_grad(), torch.autocast(ordered[0].device.type, enabled=False):
            model(torch.zeros(1, device=ordered[0].device, requires_grad=True)).backward()
    finally:
        model.module, model.require_forward_param_sync = inner, synced
    for each, gradient in zip(ordered, held, strict=True):
        each.grad = gradient


class _Touched(nn.Module):
    """Stands in for a model during a pass whose backward goes through parameters in an order."""

    def __init__(self, ordered: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self._ordered = tuple(ordered)  # not registered: they stay the model's

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        for each in reversed(self._ordered):  # the backward pass goes the other way
            value = _Touch.apply(value, each)  # type: ignore[no-untyped-call]  # PyTorch has no types for it
        return value.sum()


class _Touch(torch.autograd.Function):
    """Passes a value on; the parameter's gradient is zero."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(parameter)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (parameter,) = ctx.saved_tensors
        return gradient, torch.zeros_like(parameter)
