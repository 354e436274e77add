"""A resume without checks, as in many training loops, to measure the effect of a fault.

Tensors are loaded by name where they fit, the optimiser's state by position, other state by
`load_state_dict`; what doesn't fit is skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint.layout import STATE
from unbroken.checkpoint.tensor_file import read_tensors
from unbroken.loop.schedule import Schedule
from unbroken.selftest.training import TrainingPlan, TrialTraining, build
from unbroken.state.accumulation import put_gradients
from unbroken.state.codec import decode
from unbroken.state.modules import TENSORS, ModulePart
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.parts import Part
from unbroken.state.position import Position

GENERATOR_SEED = 99
"""Stands for the state of the global generator, which such loops save and restore."""


def resume_unchecked(plan: TrainingPlan, checkpoint: Path, scratch: Path) -> TrialTraining:
    """Build the program's objects and load the checkpoint without comparing anything.

    Args:
        plan: The program.
        checkpoint: Its directory, which is not verified.
        scratch: Directory of a new run, so that nothing is compared.
    """
    training = build(plan, scratch)
    training.is_unchecked = True
    run = training.run
    run.resume("")
    state = json.loads((checkpoint / STATE).read_bytes())
    for name, form in state["parts"].items():
        tensors_at = checkpoint / f"{name}.safetensors"
        tensors = read_tensors(tensors_at) if tensors_at.is_file() else {}
        saved = decode(form, tensors)
        part = run.state.parts.get(name)
        if part is not None and training.brought:
            part.restore(saved)  # PyTorch's plain ways can't
        elif part is not None:
            _put_in(part, saved)
        elif name == "gradients":
            put_gradients(run.state.trained, saved[TENSORS])
        elif name == "sums":
            run.state.sums.load_state_dict(saved)
    run.state.position = Position.from_state(state["position"])
    torch.manual_seed(GENERATOR_SEED)
    for hook in plan.after_resume:
        hook(training)
    return training


@torch.no_grad()
def _put_in(part: Part, saved: Any) -> None:
    if isinstance(part, ModulePart):
        live = part.module.state_dict(keep_vars=True)
        for name, each in saved[TENSORS].items():
            if name in live:
                rows = tuple(
                    slice(min(a, b)) for a, b in zip(each.shape, live[name].shape, strict=True)
                )
                live[name].data[rows] = each[rows].to(live[name])
    elif isinstance(part, OptimizerPart):
        part.optimizer.load_state_dict(_by_position(saved))
        for parameter, state in list(part.optimizer.state.items()):
            if any(each.dim() and each.shape != parameter.shape for each in _tensors(state)):
                del part.optimizer.state[parameter]
    elif isinstance(target := getattr(part, "target", None), Schedule):
        target.updates = saved["updates"]
        target.apply()
    else:
        part.restore(saved)


def _tensors(state: dict[str, Any]) -> list[torch.Tensor]:
    return [each for each in state.values() if isinstance(each, torch.Tensor)]


def _by_position(saved: Any) -> dict[str, Any]:
    """Return an optimiser's state in PyTorch's form, with numbered parameters."""
    numbers: dict[str, int] = {}
    for group in saved["groups"]:
        for name in group["params"]:
            numbers.setdefault(name, len(numbers))
    return {
        "state": {numbers[name]: each for name, each in saved["state"].items()},
        "param_groups": [
            {**group, "params": [numbers[name] for name in group["params"]]}
            for group in saved["groups"]
        ],
    }
