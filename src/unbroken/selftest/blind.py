"""Faults written by somebody who had not read the checks: the model, the libraries, the files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from unbroken.checkpoint import disk
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, model_of

AREA = Area("blind")


def built(scene: Scene, change: Callable[[Any], Any]) -> None:
    """Change the model after the program has built it."""

    def build(plan: TrainingPlan) -> Any:
        model = model_of(plan)
        change(model)
        return model

    scene.plan.build_model = build


def resumed(scene: Scene, change: Callable[[TrialTraining], Any]) -> None:
    """Run `change` once, right after the resume."""

    def hook(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    scene.plan.after_resume.append(hook)


@AREA.fault("activation-approximated", "a library's newer version approximates the activation",
    "probe-loss-reproduced", "replay: loss")  # fmt: skip
def _activation(scene: Scene) -> None:
    scene.replace(functional, "gelu", partial(functional.gelu, approximate="tanh"))


@AREA.fault("norm-epsilon", "the norms are built with another library's epsilon",
    "probe-loss-reproduced", "replay: loss")  # fmt: skip
def _epsilon(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.norm, "eps", 1e-3))


@AREA.fault("causal-mask-lost", "a faster attention is used, and is not told to be causal",
    "probe-loss-reproduced", "replay: loss")  # fmt: skip
def _mask(scene: Scene) -> None:
    plain = torch.Tensor.masked_fill

    def masked_fill(self: torch.Tensor, mask: torch.Tensor, value: float) -> torch.Tensor:
        return self if value == -math.inf else plain(self, mask, value)

    scene.replace(torch.Tensor, "masked_fill", masked_fill)


@AREA.fault("padding-row", "the table of tokens is built with a padding row, which gets no gradient",
    "replay: gradient", "replay: update")  # fmt: skip
def _padding(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.tokens, "padding_idx", 3))


@AREA.fault("table-scaled-by-frequency", "gradients of the table are divided by the tokens' count",
    "replay: gradient", "replay: update")  # fmt: skip
def _frequency(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.tokens, "scale_grad_by_freq", True))


@AREA.fault("table-renormalised", "the table of tokens renormalises the rows that it looks up",
    "probe-loss-reproduced", "replay: loss", "weights-identical")  # fmt: skip
def _renormalised(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.tokens, "max_norm", 1.0))


@AREA.fault("statistics-momentum", "running statistics move at another momentum",
    "replay: update", "replay: loss")  # fmt: skip
def _momentum(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.statistics, "momentum", 0.5))


@AREA.fault("statistics-in-evaluation", "the batch norm alone is put into evaluation mode",
    "training-mode-unchanged", "replay: loss")  # fmt: skip
def _norm_evaluates(scene: Scene) -> None:
    resumed(scene, lambda training: training.model.statistics.eval())


@AREA.fault("dry-run", "a summary of the model sends zeros through it in training mode",
    "weights-identical", "replay: update")  # fmt: skip
def _dry_run(scene: Scene) -> None:
    zeros = torch.zeros(2, 8, dtype=torch.long)
    resumed(scene, lambda training: training.model(zeros, zeros[:, 0]))


def _replace_parameter(training: TrialTraining) -> None:
    layer = training.model.block.down
    layer.weight = nn.Parameter(layer.weight.detach().clone())


@AREA.fault("stale-parameter-in-the-optimizer", "a move to a device makes a parameter anew; the "
    "optimiser keeps the old one", "optimizer-covers-parameters",
    mechanism="stale-parameter")  # fmt: skip
def _stale_built(scene: Scene) -> None:
    def build(plan: TrainingPlan, model: Any) -> Any:
        optimizer = make(plan, model)
        model.block.down.weight = nn.Parameter(model.block.down.weight.detach().clone())
        return optimizer

    make = scene.plan.build_optimizer
    scene.plan.build_optimizer = build


@AREA.fault("stale-parameter-after-the-resume", "a layer's weights become a new parameter after "
    "the resume", "replay: gradient", "replay: update", mechanism="stale-parameter")  # fmt: skip
def _stale_resumed(scene: Scene) -> None:
    resumed(scene, _replace_parameter)


class _KeptMask(nn.Module):
    """Dropout whose mask is drawn once per shape."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._masks: dict[Any, torch.Tensor] = {}

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return stream
        if stream.shape not in self._masks:
            kept = functional.dropout(torch.ones_like(stream), self.rate)
            self._masks[stream.shape] = kept
        return stream * self._masks[stream.shape]


@AREA.fault("dropout-mask-kept", "the mask of the dropout is cached by its shape",
    "replay: loss")  # fmt: skip
def _kept_mask(scene: Scene) -> None:
    built(scene, lambda model: setattr(model.block, "dropout", _KeptMask(scene.plan.dropout)))


@AREA.fault("recomputed-with-other-dropout", "activation checkpointing draws other dropout masks "
    "when it computes again", "replay: gradient")  # fmt: skip
def _recomputed(scene: Scene) -> None:
    def wrap(model: Any) -> None:
        plain = model.block.forward
        model.block.forward = partial(
            checkpoint, plain, use_reentrant=False, preserve_rng_state=False
        )

    built(scene, wrap)


@AREA.fault("voices-renumbered", "the map of the voices is built in another order; two swap places",
    "replay: loss")  # fmt: skip
def _voices(scene: Scene) -> None:
    swapped = torch.tensor([0, 1, 2, 3, 5, 4, 6])

    def swap(_: Any, inputs: Any) -> Any:
        return inputs[0], swapped[inputs[1]]

    resumed(scene, lambda training: training.model.register_forward_pre_hook(swap))


@AREA.fault("embedding-noise", "a hook adds noise to the embeddings while training",
    "replay: loss")  # fmt: skip
def _noise(scene: Scene) -> None:
    def add(module: nn.Module, _: Any, out: torch.Tensor) -> torch.Tensor:
        return out + 0.05 * torch.randn_like(out) if module.training else out

    resumed(scene, lambda training: training.model.tokens.register_forward_hook(add))


@AREA.fault("gradients-centred", "a hook on a weight takes the mean off its gradient",
    "replay: gradient")  # fmt: skip
def _centred(scene: Scene) -> None:
    def centre(gradient: torch.Tensor) -> torch.Tensor:
        return gradient - gradient.mean(1, keepdim=True)

    resumed(scene, lambda training: training.model.block.out.weight.register_hook(centre))


@AREA.fault("default-dtype-double", "another library sets the default dtype to float64",
    "StateMismatch", "weights-identical")  # fmt: skip
def _default_dtype(scene: Scene) -> None:
    def double(model: Any) -> None:
        model.double()

    built(scene, double)


def _swapped(content: bytes) -> bytes:
    start = 8 + int.from_bytes(content[:8], "little")
    words = [content[i : i + 4][::-1] for i in range(start, len(content) - 3, 4)]
    return content[:start] + b"".join(words) + content[start + 4 * len(words) :]


def _prefixed(content: bytes) -> bytes:
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    renamed = {k if k == "__metadata__" else f"module.{k}": v for k, v in header.items()}
    text = json.dumps(renamed).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


TRANSFERS: Final[dict[str, tuple[str, str, Callable[[bytes], bytes]]]] = {
    "text-mode-transfer": ("the optimiser's file was copied in text mode: each line end became two bytes",
        "optimizer.safetensors", lambda content: content.replace(b"\n", b"\r\n")),
    "file-lengthened": ("a copy that was resumed added a block at the end of the weights",
        "model.safetensors", lambda content: content + content[-512:]),
    "byte-order": ("the weights were written in the other byte order",
        "model.safetensors", _swapped),
    "names-prefixed": ("a wrapper's prefix got into the names of the weights",
        "model.safetensors", _prefixed),
}  # fmt: skip


def _transfer(name: str, change: Callable[[bytes], bytes], scene: Scene) -> None:
    path = scene.checkpoint / name
    disk.replace_file(path, change(path.read_bytes()))


for id_, (sentence, file, change_file) in TRANSFERS.items():
    AREA.fault(id_, sentence, "fell back")(partial(_transfer, file, change_file))
