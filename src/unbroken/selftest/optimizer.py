"""Faults of the optimiser: its moments, counters, groups, and parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, optimizer_of

AREA = Area("optimizer")
UPDATE = ("replay: update", "replay: loss", "optimizer-state-identical")
"""The first update after the resume is wrong, and the loss of the next step shows it."""
OPTIONS = (*UPDATE, "optimizer-options-unchanged")
"""The same if the optimiser's options were set; the more specific cause is correct too."""


def _change(change: Callable[[dict[str, Any]], Any], scene: Scene) -> None:
    def each(training: TrialTraining) -> None:
        for state in training.optimizer.state.values():
            change(state)

    scene.plan.after_resume.append(each)


def _zero(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state[key].zero_()


CHANGES: dict[str, tuple[str, str, Callable[[dict[str, Any]], Any], str]] = {
    "first-moment-zeroed": ("the first moments are zero after the resume", "moments-zeroed",
        _zero("exp_avg"), "R25"),
    "second-moment-zeroed": ("the second moments are zero after the resume", "moments-zeroed",
        _zero("exp_avg_sq"), "R25"),
    "moments-scaled": ("the moments are scaled by 4 on the way", "moments-scaled",
        lambda state: state["exp_avg"].mul_(4.0), "R28"),
    "moments-one-percent": ("the moments are one per cent larger than saved", "moments-scaled",
        lambda state: state["exp_avg"].mul_(1.01), "R28"),
    "bias-correction-restarts": ("the optimiser's step counter is 0: bias correction starts over",
        "step-counter", _zero("step"), "R26"),
    "step-counter-off-by-one": ("the optimiser's step counter is one too large", "step-counter",
        lambda state: state["step"].add_(1.0), "R140"),
    "moments-through-bf16": ("the moments were kept in bf16", "moments-through-bf16",
        lambda state: state["exp_avg"].copy_(state["exp_avg"].bfloat16()), "R44"),
}  # fmt: skip

for name, (sentence, mechanism, change, source) in CHANGES.items():
    AREA.fault(name, sentence, *UPDATE, mechanism=mechanism, source=source)(
        partial(_change, change)
    )


@AREA.fault("optimizer-state-lost", "the optimiser's state is dropped after the resume", *UPDATE,
    source="R25, R34")  # fmt: skip
def _lost(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.optimizer.state.clear())


@AREA.fault("optimizer-built-anew", "the loop steps an optimiser that was built after the resume",
    *UPDATE, "replay: rate", "learning-rate-continues", source="R34, R40")  # fmt: skip
def _anew(scene: Scene) -> None:
    def anew(training: TrialTraining) -> None:
        made = optimizer_of(scene.plan, training.model)
        for old, new in zip(training.optimizer.param_groups, made.param_groups, strict=True):
            new["lr"] = old["lr"]
        training.optimizer.step = made.step
        training.schedule.optimizer = made

    scene.plan.after_resume.append(anew)


def _swap(keys: tuple[str, ...], scene: Scene) -> None:
    def swap(training: TrialTraining) -> None:
        block, state = training.model.block, training.optimizer.state
        a, b = block.norm_attention.weight, block.norm_net.weight
        for key in keys:
            state[a][key], state[b][key] = state[b][key], state[a][key]

    scene.plan.after_resume.append(swap)


AREA.fault("moments-swapped", "the moments of two parameters of one shape change places", *UPDATE,
    mechanism="moments-of-another-parameter", source="R23, R24")(
    partial(_swap, ("exp_avg", "exp_avg_sq")))  # fmt: skip


def _reordered(order: Callable[[list[Any]], list[Any]], scene: Scene) -> None:
    def build(plan: TrainingPlan, model: Any) -> Any:
        made = optimizer_of(plan, model)
        for group in made.param_groups:
            group["params"] = order(group["params"])
        return made

    scene.plan.build_optimizer = build


def _norms_swapped(parameters: list[Any]) -> list[Any]:
    small = [i for i, each in enumerate(parameters) if each.shape == (16,)]
    swapped = dict(zip(small, reversed(small), strict=True))
    return [parameters[swapped.get(i, i)] for i in range(len(parameters))]


AREA.fault("parameters-in-another-order", "parameters of one shape are given to the optimiser in "
    "another order", "optimizer-alignment-by-name", source="R23, R24")(
    partial(_reordered, _norms_swapped))  # fmt: skip


@AREA.fault("one-group-instead-of-two", "the optimiser is built with one group: biases decay as well",
    "optimizer-alignment-by-name", source="R19")  # fmt: skip
def _one_group(scene: Scene) -> None:
    scene.plan.build_optimizer = lambda plan, model: torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad],
        lr=plan.learning_rate,
        weight_decay=plan.weight_decay,
    )


@AREA.fault("parameter-left-out", "a parameter is not given to the optimiser any more",
    "optimizer-covers-parameters", "optimizer-alignment-by-name")  # fmt: skip
def _left_out(scene: Scene) -> None:
    def build(plan: TrainingPlan, model: Any) -> Any:
        made = optimizer_of(plan, model)
        made.param_groups[1]["params"].pop()
        return made

    scene.plan.build_optimizer = build


def _option(name: str, value: Any, scene: Scene) -> None:
    def change(training: TrialTraining) -> None:
        for group in training.optimizer.param_groups:
            group[name] = value

    scene.plan.after_resume.append(change)


for option, value in (("weight_decay", 0.5), ("betas", (0.5, 0.999)), ("eps", 1e-3), ("maximize", True)):  # fmt: skip
    AREA.fault(
        f"option-{option.replace('_', '-')}",
        f"the loop sets the optimiser's {option} to {value} after the resume",
        *OPTIONS,
        mechanism="option-set-after-the-resume",
        source="R21",
    )(partial(_option, option, value))


@AREA.fault("other-weight-decay-asked", "the command asks for another weight decay",
    "settings-unchanged", source="A7, R21")  # fmt: skip
def _decay_asked(scene: Scene) -> None:
    scene.plan.weight_decay = 0.4

    def act(training: TrialTraining) -> None:
        training.optimizer.param_groups[0]["weight_decay"] = 0.4

    scene.plan.after_resume.append(act)


@AREA.fault("another-optimizer", "the optimiser is of another class: Adam, whose decay is in the "
    "gradient", "optimizer-alignment-by-name", "optimizer-options-unchanged")  # fmt: skip
def _another_class(scene: Scene) -> None:
    def build(plan: TrainingPlan, model: Any) -> Any:
        made = optimizer_of(plan, model)
        return torch.optim.Adam(made.param_groups, lr=plan.learning_rate)

    def couple(training: TrialTraining) -> None:
        for group in training.optimizer.param_groups:
            group["decoupled_weight_decay"] = False

    scene.plan.build_optimizer = build
    scene.plan.after_resume.append(couple)


@AREA.fault("momentum-lost", "SGD's momentum is dropped after the resume", *UPDATE,
    mechanism="optimizer-state-lost", setting="torch", source="R25")  # fmt: skip
def _momentum(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.optimizer.state.clear())


@AREA.fault("update-before-the-first-step", "a warm-up update is made between resume and first step",
    "replay: loss", "weights-identical", source="R140")  # fmt: skip
def _extra_update(scene: Scene) -> None:
    def update(training: TrialTraining) -> None:
        for parameter in training.run.state.trained.values():
            parameter.grad = torch.ones_like(parameter)
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)

    scene.plan.after_resume.append(update)


@AREA.fault("left-over-gradient", "a gradient is left over from before the first step",
    "replay: gradient", "replay: loss", "accumulation-restored", source="R32, C4")  # fmt: skip
def _left_over(scene: Scene) -> None:
    def leave(training: TrialTraining) -> None:
        for parameter in training.run.state.trained.values():
            parameter.grad = torch.full_like(parameter, 0.01)

    scene.plan.after_resume.append(leave)
