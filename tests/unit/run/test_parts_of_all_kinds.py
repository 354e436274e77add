"""Parts that people bring: stopped and resumed they are what they would have become, to the last bit.

What comes into being while training is state: buffers that grow, shapes that the first batch gives,
names that pruning changes, a schedule that is built when its phase begins.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, prune
from torch.optim import lr_scheduler, swa_utils

import unbroken
from support.rewritten_checkpoint import rewrite
from unbroken.checkpoint.read import Checkpoint
from unbroken.run.flat_state import flat
from unbroken.state.digest import tensor_digest

STEPS, STOP = 4, 2
INPUTS = torch.randn(16, 8, generator=torch.Generator().manual_seed(3))


def nothing(_step: int) -> None:
    """Do nothing after a step."""


@dataclass
class Kit:
    """What a program brings to its run."""

    model: nn.Module
    parts: dict[str, Any] = field(default_factory=dict)
    after: Callable[[int], None] = nothing
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None


class Train:
    """One process of a program, from scratch until a step; `state` is what it then has."""

    def __init__(self, build: Callable[[], Kit], directory: Path, until: int) -> None:
        torch.manual_seed(0)
        kit = build()
        self.model = kit.model
        optimizer = kit.optimizer or torch.optim.SGD(kit.model.parameters(), lr=0.01, momentum=0.9)
        order = unbroken.StepBatches([f"s{i}" for i in range(16)], None, 8, seed=1)
        run = unbroken.Run(
            directory, order=order, model=kit.model, optimizer=optimizer, save_every=0, **kit.parts
        )
        run.resume()
        kit.model.train()
        forward = kit.forward or kit.model
        for step in run.steps(until):
            for micro in step.micro_batches(8):
                step.backward(forward(INPUTS[list(micro.indices)]).square().mean())
            step.update()
            kit.after(step.number)
        values, tensors = flat(run.state.capture())
        self.state = values, {name: tensor_digest(each) for name, each in tensors.items()}
        run.close()


def assert_exact(
    build: Callable[[], Kit], tmp_path: Path, again: Callable[[], Kit] | None = None
) -> None:
    whole = Train(build, tmp_path / "whole", STEPS)
    Train(build, tmp_path / "stopped", STOP)
    resumed = Train(again or build, tmp_path / "stopped", STEPS)
    assert whole.state == resumed.state


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))


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


class Packed(nn.Module):
    """Saves in a form of its own, and a count that is no tensor of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 8))
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return (x @ self.weight.T) / self.count

    def _save_to_state_dict(self, destination: Any, prefix: str, _keep_vars: bool) -> None:
        destination[f"{prefix}packed"] = self.weight.detach().clone().view(torch.int32)
        destination[f"{prefix}count"] = torch.tensor(self.count)

    def _load_from_state_dict(self, state: Any, prefix: str, *_rest: Any) -> None:
        with torch.no_grad():
            self.weight.copy_(state[f"{prefix}packed"].view(torch.float32))
        self.count = int(state[f"{prefix}count"])


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


class Phases:
    """Builds its second object when the second phase begins."""

    def __init__(self) -> None:
        self.steps = 0
        self.second: dict[str, float] | None = None

    def step(self) -> None:
        self.steps += 1
        if self.steps >= STOP:
            self.second = {"score": (self.second or {}).get("score", 0.0) + 0.1}

    def state_dict(self) -> dict[str, Any]:
        late = {} if self.second is None else {"second": self.second}
        return {"steps": self.steps, **late}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.second = state["steps"], state.get("second")


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


class HeadLess(nn.Module):
    """Leaves its head out of what it saves, as a wrapper for export would."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.body(x))

    def state_dict(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.body.state_dict(prefix="body.")


def dropping_hook() -> nn.Module:
    model = small()

    def drop(_module: Any, state: Any, prefix: str, _metadata: Any) -> None:
        del state[f"{prefix}2.weight"]

    model._register_state_dict_hook(drop)
    return model


@pytest.mark.parametrize(
    ("build", "name"),
    [(HeadLess, "model.head.weight"), (dropping_hook, "model.2.weight")],
    ids=["a state_dict of its own", "a hook"],
)
def test_what_trains_but_is_in_no_checkpoint_is_refused(
    build: Callable[[], nn.Module], name: str, tmp_path: Path
) -> None:
    """The parameter is named before the first step."""
    with pytest.raises(unbroken.UnbrokenError, match=f"{name}.*an optimiser updates it"):
        Train(lambda: Kit(build()), tmp_path, 1)


class Mean(nn.Module):
    """Gathers as the metrics of torchmetrics do: in tensors that its state doesn't have unless told."""

    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(())


class Tracker:
    """Gathers, and says nothing of it."""

    def __init__(self) -> None:
        self.seen = np.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize("part", [Mean, Tracker])
def test_a_part_that_saves_nothing_of_what_it_keeps_is_refused(
    part: Callable[[], Any], tmp_path: Path
) -> None:
    """It was declared to be kept; the message has the line that mends a metric."""
    with pytest.raises(unbroken.UnbrokenError, match=r"'metric' saves nothing.*\n.*\n.*persistent"):
        Train(lambda: Kit(small(), {"metric": part()}), tmp_path, 1)


@pytest.mark.parametrize("part", [nn.ReLU, nn.Identity, Phases])
def test_a_part_that_has_nothing_to_save_raises_no_alarm(
    part: Callable[[], Any], tmp_path: Path
) -> None:
    """An activation, a wrapper, or an object whose state is still empty, is declared without harm."""
    assert_exact(lambda: Kit(small(), {"part": part()}), tmp_path)


class OneWay(Packed):
    """Saves what it doesn't take back."""

    def _load_from_state_dict(self, *_args: Any) -> None:
        self.count = 0


def growing() -> Kit:
    model: Any = small()
    return Kit(model, after=lambda _: model.append(nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Kit(OneWay()), r"model\.weight|model\.packed"),
        (growing, r"model\.3\.weight: is F32 \[1, 1\], was not there"),
    ],
    ids=["a load that loses", "a layer that is added"],
)
def test_what_no_start_would_take_back_is_told_at_the_first_step(
    build: Callable[[], Kit], named: str, tmp_path: Path
) -> None:
    """Not weeks later, at the first resume."""
    with pytest.raises(unbroken.UnbrokenError, match=named):
        Train(build, tmp_path, STEPS)
    assert not list(tmp_path.glob("checkpoints/step-*"))


class Broken:
    """An object whose methods fail as foreign code does."""

    def __init__(self, *, saves: bool) -> None:
        self.saves = saves

    def state_dict(self) -> dict[str, Any]:
        empty: dict[str, Any] = {}
        return {"n": 1} if self.saves else {"n": empty["n"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise TypeError(f"no {state}")


def test_errors_of_foreign_code_name_the_part(tmp_path: Path) -> None:
    """They stay errors of the library, with what to do."""
    with pytest.raises(unbroken.UnbrokenError, match=r"state_dict\(\) of 'odd' failed: KeyError"):
        Train(lambda: Kit(small(), {"odd": Broken(saves=False)}), tmp_path / "a", 1)
    build = lambda: Kit(small(), {"odd": Broken(saves=True)})  # noqa: E731  # shortest here
    Train(build, tmp_path / "b", STOP)
    with pytest.raises(unbroken.UnbrokenError, match="'odd' did not take its saved state: TypeErr"):
        Train(build, tmp_path / "b", STEPS)
