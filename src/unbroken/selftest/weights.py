"""Faults of the weights: what is not loaded, loaded elsewhere, built anew, untied, averaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.model import Block, Model
from unbroken.selftest.training import TrialTraining

AREA = Area("weights")
LOSS = ("replay: loss", "weights-identical")


def _after(change: Callable[[TrialTraining], Any], scene: Scene) -> None:
    def hook(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    scene.plan.after_resume.append(hook)


AFTER: dict[str, tuple[str, str, Callable[[TrialTraining], Any], str]] = {
    "norm-initialised-again": ("a LayerNorm is initialised again after the resume",
        "initialised-again", lambda it: it.model.block.norm_net.reset_parameters(), "R53"),
    "head-initialised-again": ("the head is initialised again after the resume",
        "initialised-again", lambda it: it.model.head.reset_parameters(), "R53"),
    "layer-initialised-again": ("a layer is initialised again after the resume",
        "initialised-again", lambda it: it.model.block.up.reset_parameters(), "R45"),
    "statistics-reset": ("the running statistics start over", "statistics-reset",
        lambda it: it.model.statistics.reset_running_stats() or it.model.statistics.eval(), "R68"),
    "weights-one-percent": ("one weight matrix is one per cent larger", "weights-scaled",
        lambda it: it.model.block.out.weight.mul_(1.01), "R28"),
    "one-weight-nudged": ("a single weight is changed by a thousandth", "weights-scaled",
        lambda it: it.model.block.out.weight[0, 0].mul_(1.001), "R47"),
    "rows-swapped": ("two rows of the embedding change places", "rows-swapped",
        lambda it: it.model.tokens.weight[:2].copy_(it.model.tokens.weight[:2].flip(0)), "R66"),
    "weights-of-the-average": ("the averaged weights are put in the place of the live ones",
        "average-in-the-place-of-weights", lambda it: [a.copy_(b) for a, b in
        zip(it.model.parameters(), it.ema.module.parameters(), strict=True)], "R60, R62"),
    "frozen-rows-moved": ("the rows that are frozen are drawn anew", "frozen-rows-moved",
        lambda it: it.model.old_voices.normal_(), "R64"),
    "noise-on-weights": ("a little noise is added to all weights", "noise",
        lambda it: [each.add_(1e-4 * torch.randn_like(each)) for each in it.model.parameters()],
        "R47"),
    "dropout-off": ("dropout alone is off after the resume", "training-mode-of-a-submodule",
        lambda it: it.model.block.dropout.eval(), "R68, R69"),
    "dropout-raised": ("the probability of dropout is doubled after the resume",
        "dropout-probability", lambda it: setattr(it.model.block.dropout, "p", 0.2), "R45"),
    "embedding-frozen": ("the embedding is frozen after the resume", "frozen-after-the-resume",
        lambda it: it.model.tokens.weight.requires_grad_(False), "R68"),
    "biases-zeroed": ("the biases are zero after the resume", "weights-scaled",
        lambda it: it.model.block.up.bias.zero_(), "R51"),
}  # fmt: skip

for name, (sentence, mechanism, change, source) in AFTER.items():
    AREA.fault(name, sentence, *LOSS, "replay: gradient", mechanism=mechanism, source=source)(
        partial(_after, change)
    )


@AREA.fault("head-untied", "the head is not tied to the embedding after the resume", *LOSS,
    "replay: gradient", "replay: update", source="R59")  # fmt: skip
def _untied_after(scene: Scene) -> None:
    def untie(training: TrialTraining) -> None:
        training.model.head.weight = nn.Parameter(training.model.tokens.weight.detach().clone())

    scene.plan.after_resume.append(untie)


def _built(change: Callable[[Model], Any], scene: Scene) -> None:
    build = scene.plan.build_model

    def changed(plan: Any) -> Any:
        model = build(plan)
        change(model)
        return model

    scene.plan.build_model = changed


def _untie(model: Model) -> None:
    model.head.weight = nn.Parameter(torch.randn_like(model.tokens.weight))


def _rename(model: Model) -> None:
    model.norm = nn.Sequential(model.norm)  # type: ignore[assignment]


class _Deeper(nn.Sequential):
    """Two blocks where there was one."""


def _deepen(model: Model) -> None:
    model.block = _Deeper(model.block, Block(16, 0.1))


def _no_dropout(model: Model) -> None:
    model.block.dropout = nn.Identity()


def _freeze(model: Model) -> None:
    model.get_parameter("block.query_key_value.weight").requires_grad_(False)


def _mask(model: Model) -> None:
    model.old_voices.requires_grad_(True)
    model.old_voices.register_hook(torch.zeros_like)


def _other_activation(model: Model) -> None:
    out = model.get_submodule("block.out")
    model.block.forward = lambda stream: stream + out(stream)


BUILT: dict[str, tuple[str, tuple[str, ...], Callable[[Model], Any], str]] = {
    "model-built-untied": ("the model is built with an untied head",
        ("ties-unchanged", "model-leaves-complete"), _untie, "R59"),
    "module-renamed": ("a module has another name", ("model-leaves-complete", "ties-unchanged"),
        _rename, "R51, R52"),
    "model-deeper": ("the model is built with one more block", ("model-leaves-complete",),
        _deepen, "R45"),
    "model-without-dropout": ("the model is built without its dropout",
        ("training-mode-unchanged", "replay: loss"), _no_dropout, "R45"),
    "matrix-frozen": ("the model is built with one matrix frozen",
        ("trainable-parameters-unchanged",), _freeze, "R64"),
    "frozen-table-trained": ("the model is built with the frozen rows behind a mask", ("trainable-parameters-unchanged",), _mask, "C1, R64"),
    "model-computes-otherwise": ("the code of the forward pass was changed",
        ("probe-loss-reproduced",), _other_activation, "R45"),
}  # fmt: skip

for name, (sentence, causes, built, source) in BUILT.items():
    AREA.fault(name, sentence, *causes, source=source)(partial(_built, built))


@AREA.fault("wider-model", "the model is built with another width", "model-configuration-unchanged",
    "model-leaves-complete")  # fmt: skip
def _wider(scene: Scene) -> None:
    scene.plan.width = 24


@AREA.fault("other-dropout-asked", "the settings ask for another dropout",
    "model-configuration-unchanged", mechanism="dropout-probability")  # fmt: skip
def _other_dropout(scene: Scene) -> None:
    scene.plan.dropout = 0.3


def _keeps_own(keeps: Callable[[str], bool], scene: Scene) -> None:
    """Have the loading of the schedule, which comes last, put some fresh weights back."""

    def remember(training: TrialTraining) -> None:
        fresh = {name: each.clone() for name, each in training.model.state_dict().items()}
        apply = training.schedule.apply

        def load_and_forget() -> None:
            apply()
            training.schedule.apply = apply
            with torch.no_grad():
                for name, each in training.model.state_dict().items():
                    if keeps(name):
                        each.copy_(fresh[name])

        training.schedule.apply = load_and_forget

    scene.plan.after_build.append(remember)


KEEPS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "weights-not-loaded": ("after loading, the weights are those of a fresh model", lambda _: True),
    "adapter-wrapped-again": ("one layer is made anew while loading: its weights are discarded",
        lambda name: "block.up" in name),
    "statistics-not-loaded": ("the running statistics are not loaded", lambda n: "running" in n),
}  # fmt: skip

for name, (sentence, keeps) in KEEPS.items():
    AREA.fault(name, sentence, "weights-identical", mechanism="weights-not-loaded",
        source="R52, R53, R57")(partial(_keeps_own, keeps))  # fmt: skip
