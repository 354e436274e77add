"""Parts that people bring: stopped and resumed they are what they would have become, to the last bit.

What comes into being while training is state: buffers that grow, shapes that the first batch gives,
names that pruning changes, a schedule that is built when its phase begins.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, prune
from torch.optim import lr_scheduler, swa_utils

from support.brought_parts import STEPS, STOP, Kit, Packed, Phases, Train, assert_exact, small
from support.rewritten_checkpoint import rewrite
from unbroken.checkpoint.read import Checkpoint


class Queue(nn.Module):
    """Keeps its last inputs, as contrastive learning does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: Callable[..., torch.Tensor] = nn.Linear(8, 1)
        self.register_buffer("seen", torch.zeros(0, 8))
        self.seen: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = torch.cat([self.seen, x.detach()])[-24:]
        return self.fc(x) + self.seen.mean()


class QueueInPlace(Queue):
    """Resizes the storage of its buffer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        begin = len(self.seen)
        self.seen.resize_(begin + len(x), 8)
        self.seen[begin:] = x.detach()
        return self.fc(x) + self.seen.mean()


class OwnBank(Queue):
    """Takes a bank of any size in by a method of its own."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        self.seen = torch.zeros_like(state[prefix + "seen"])
        super()._load_from_state_dict(state, prefix, *rest)


class LateMean(nn.Module):
    """A buffer that is None until the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: Callable[..., torch.Tensor] = nn.Linear(8, 1)
        self.register_buffer("mean", None)
        self.mean: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = x.detach().mean(0)
        self.mean = new if self.mean is None else 0.9 * self.mean + 0.1 * new
        return self.fc(x - self.mean)


def patched() -> nn.Module:
    """Return a model whose instance saves under other names."""
    model: Any = small()
    save, load = model.state_dict, model.load_state_dict
    model.state_dict = lambda *a, **k: {f"net.{n}": each for n, each in save(*a, **k).items()}
    model.load_state_dict = lambda state: load(
        {n.removeprefix("net."): t for n, t in state.items()}
    )
    return model  # type: ignore[no-any-return]  # it is a Sequential


def hooked() -> nn.Module:
    """Return a model whose hooks rename what it saves."""
    model = small()

    def rename(_module: Any, state: Any, prefix: str, _metadata: Any) -> None:
        state[f"{prefix}head"] = state.pop(f"{prefix}2.weight")

    def back(state: Any, prefix: str, *_rest: Any) -> None:
        state[f"{prefix}2.weight"] = state.pop(f"{prefix}head")

    model._register_state_dict_hook(rename)
    model._register_load_state_dict_pre_hook(back)
    return model


def qat() -> nn.Module:
    """Return a model for quantisation-aware training, whose observers have no shape yet."""
    model = nn.Sequential(quantization.QuantStub(), nn.Linear(8, 4), quantization.DeQuantStub())
    model.train().qconfig = quantization.get_default_qat_qconfig("fbgemm")
    return quantization.prepare_qat(model)  # type: ignore[no-any-return]  # it is a module


def wrapped(change: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = small()
        change(model[0])
        return model

    return build


MODELS: dict[str, Callable[[], nn.Module]] = {
    "a queue": Queue,
    "a queue that is resized in place": QueueInPlace,
    "a bank with a load of its own": OwnBank,
    "a buffer that is None at first": LateMean,
    "a form of its own": Packed,
    "a patched instance": patched,
    "hooks": hooked,
    "quantisation-aware training": qat,
    "lazy modules": lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(1)),
    "pruned": wrapped(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
    "weight norm": wrapped(parametrizations.weight_norm),
    "weight norm by hook": wrapped(nn.utils.weight_norm),
    "spectral norm": wrapped(parametrizations.spectral_norm),
    "spectral norm by hook": wrapped(nn.utils.spectral_norm),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of what it would like to be used instead
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())
def test_a_module_comes_back(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Whatever way a module saves, and whatever it only has while it trains."""
    assert_exact(lambda: Kit(build()), tmp_path)


def pruned_while_training() -> Kit:
    model = small()

    def after(step: int) -> None:
        if step == STOP:
            prune.l1_unstructured(model[0], "weight", 0.3)
            prune.random_unstructured(model[2], "weight", 0.5)
        if step == STOP + 1:
            prune.l1_unstructured(model[0], "weight", 0.5)

    return Kit(model, after=after)


def unpruned_while_training() -> Kit:
    model = small()
    prune.l1_unstructured(model[0], "weight", 0.3)

    def after(step: int) -> None:
        if step == STOP:
            prune.remove(model[0], "weight")

    return Kit(model, after=after)


def averaged() -> Kit:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    average = swa_utils.AveragedModel(model, use_buffers=True)
    schedule = swa_utils.SWALR(optimizer, 5e-3, anneal_epochs=3)
    parts = {"average": average, "scheduler": schedule}
    return Kit(model, parts, lambda _: average.update_parameters(model), optimizer=optimizer)


def nested_schedules() -> Kit:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    later = lr_scheduler.CosineAnnealingLR(optimizer, 9)
    schedule = lr_scheduler.SequentialLR(optimizer, [warm, later], [2])
    return Kit(model, {"scheduler": schedule}, optimizer=optimizer)


def built_later() -> Kit:
    phases = Phases()
    return Kit(small(), {"phases": phases}, lambda _: phases.step())


@pytest.mark.parametrize(
    "build",
    [pruned_while_training, unpruned_while_training, averaged, nested_schedules, built_later],
    ids=lambda build: build.__name__,
)
def test_what_comes_into_being_while_training_comes_back(
    build: Callable[[], Kit], tmp_path: Path
) -> None:
    """It is state: a freshly built object takes it on."""
    assert_exact(build, tmp_path)


def drawing(kind: Callable[[], Any], draw: Callable[[Any], float]) -> Callable[[], Kit]:
    def build() -> Kit:
        model, generator = small(), kind()
        return Kit(model, {"noise": generator}, forward=lambda x: model(x + float(draw(generator))))

    return build


@pytest.mark.parametrize(
    "build",
    [
        drawing(
            lambda: torch.Generator().manual_seed(5),
            lambda each: torch.randn((), generator=each).item(),
        ),
        drawing(lambda: np.random.default_rng(5), lambda each: each.standard_normal()),
        drawing(lambda: np.random.RandomState(5), lambda each: each.standard_normal()),
        drawing(lambda: random.Random(5), lambda each: each.gauss(0, 1)),  # noqa: S311  # the subject
    ],
    ids=["torch", "numpy", "numpy.RandomState", "random"],
)
def test_a_generator_of_ones_own_goes_on(build: Callable[[], Kit], tmp_path: Path) -> None:
    """A random generator is a part like any other, and the loop's own object draws on."""
    assert_exact(build, tmp_path)


def compiled(depth: int) -> Callable[[], Kit]:
    def build() -> Kit:
        model: Any = nn.Sequential(small(), nn.Linear(1, 1))
        if depth == 1:
            model[0] = torch.compile(model[0], backend="eager")
        elif depth == 2:
            model[0][2] = torch.compile(model[0][2], backend="eager")
        return Kit(model)

    return build


@pytest.mark.filterwarnings("ignore")  # the compiler's own, of what it looks at while it traces
@pytest.mark.parametrize("depth", [1, 2])
def test_a_submodule_may_be_compiled_at_the_resume_and_not_before(
    depth: int, tmp_path: Path
) -> None:
    """Compiled or not, it is the same run: the names that compiling adds are not its state's."""
    assert_exact(compiled(0), tmp_path / "later", compiled(depth))
    assert_exact(compiled(depth), tmp_path / "before", compiled(0))


def named_as_once(state: Any) -> Any:
    """Return nested state with the names that earlier versions gave to a compiled first layer."""
    if isinstance(state, dict):
        return {named_as_once(key): named_as_once(each) for key, each in state.items()}
    if isinstance(state, list):
        return [named_as_once(each) for each in state]
    if not isinstance(state, str):
        return state
    return re.sub(r"^(model\.)?0\.(weight|bias)$", r"\g<1>0._orig_mod.\2", state)


def test_a_checkpoint_with_compiled_names_in_it_goes_on(tmp_path: Path) -> None:
    """Earlier versions saved the names that compiling adds."""
    whole = Train(lambda: Kit(small()), tmp_path / "whole", STEPS)
    Train(lambda: Kit(small()), tmp_path / "stopped", STOP)
    (saved,) = (tmp_path / "stopped/checkpoints").iterdir()

    def change(parts: dict[str, Any], _evidence: dict[str, Any]) -> None:
        parts |= {name: named_as_once(each) for name, each in parts.items()}

    rewrite(saved, change)
    assert any("_orig_mod" in leaf for leaf in Checkpoint.at(saved).manifest.leaves)
    assert whole.state == Train(lambda: Kit(small()), tmp_path / "stopped", STEPS).state


class ReplayBuffer:
    """What an agent has seen, as a numpy array of several megabytes."""

    def __init__(self) -> None:
        self.seen = np.zeros((200_000, 4), np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def replayed() -> Kit:
    buffer = ReplayBuffer()

    def after(step: int) -> None:
        buffer.seen[step] = step

    return Kit(small(), {"buffer": buffer}, after)


def test_a_large_array_is_saved_as_a_tensor_is(tmp_path: Path) -> None:
    """It goes to the tensor file: the JSON stays small whatever a part holds."""
    assert_exact(replayed, tmp_path)
    documents = tmp_path.glob("stopped/checkpoints/*/state.json")
    assert all(each.stat().st_size < 100_000 for each in documents)
