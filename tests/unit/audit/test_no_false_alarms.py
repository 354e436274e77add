"""What a program keeps only to save time, or saves in its own way, is not called lost."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.nn.utils import parametrizations, prune, spectral_norm
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

import unbroken
from support.audited import told


class Rotary(nn.Module):
    """Makes its tables when a longer batch comes, and keeps the last output."""

    def __init__(self, *, as_buffer: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.as_buffer, self.longest, self.is_made = as_buffer, 0, False
        self.by_length: dict[int, torch.Tensor] = {}
        self.last: torch.Tensor | None = None
        self.table: torch.Tensor
        self.register_buffer("table", torch.zeros(0), persistent=False)
        self.plain: torch.Tensor | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if len(values) > self.longest:
            self.longest, self.is_made = len(values), True
            self.plain = torch.arange(self.longest).float().cos()
            self.table = self.plain.clone() if self.as_buffer else self.table
        self.by_length.setdefault(len(values), torch.ones(len(values)))
        assert self.plain is not None
        self.last = self.linear(values) * self.plain[: len(values), None]
        return self.last


@pytest.mark.parametrize("as_buffer", [False, True])
def test_tables_and_results_are_no_state(as_buffer: bool) -> None:
    """Made once or made longer; a result that hangs on its graph."""
    lengths = iter([3, 3, 5, 4, 9, 9, 9, 9])
    assert [] == told(Rotary(as_buffer=as_buffer), lambda: torch.randn(next(lengths), 4))


def pruned() -> nn.Module:
    model = nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    prune.l1_unstructured(model[1], "weight", 0.5)
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.RReLU(), nn.Dropout()),
        lambda: spectral_norm(nn.Linear(4, 4)),
        lambda: parametrizations.spectral_norm(nn.Linear(4, 4)),
        pruned,
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        lambda: torch.compile(nn.Sequential(nn.Linear(4, 4)), backend="eager"),
    ],
)
def test_models_of_pytorch_raise_no_alarm(make: Callable[[], nn.Module]) -> None:
    """Also where a validation without gradients computes their derived weights anew."""
    model = make()

    def validate() -> None:
        with unbroken.isolated(model, seed=1), torch.no_grad():
            model(torch.randn(2, 4))

    assert [] == told(model, after_step=validate)


def test_an_average_that_is_declared_raises_no_alarm() -> None:
    """It is a part like any other."""
    model = nn.Linear(4, 4)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    found = told(model, average=average, after_step=lambda: average.update_parameters(model))
    assert [] == found


OPTIMIZERS = [
    each
    for name, each in vars(optim).items()
    if inspect.isclass(each) and issubclass(each, optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
]  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers_of_pytorch_raise_no_alarm(kind: Any) -> None:
    """With a gradient scaler."""
    model = nn.Linear(4, 4, bias=False)
    scaler = torch.amp.GradScaler("cpu", growth_interval=2)
    assert [] == told(model, optimizer=kind(model.parameters(), lr=0.01), scaler=scaler)


SCHEDULES: dict[str, Callable[[optim.Optimizer], Any]] = {
    "one cycle": lambda it: lr_scheduler.OneCycleLR(it, 0.1, 20),
    "cyclic": lambda it: lr_scheduler.CyclicLR(it, 0.01, 0.1, step_size_up=2),
    "restarts": lambda it: lr_scheduler.CosineAnnealingWarmRestarts(it, 2),
    "averaging": lambda it: SWALR(it, 0.01, 2),
    "chained": lambda it: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(it, total_iters=2), lr_scheduler.ExponentialLR(it, 0.9)]
    ),
    "sequential": lambda it: lr_scheduler.SequentialLR(
        it, [lr_scheduler.LinearLR(it, total_iters=2), lr_scheduler.StepLR(it, 1)], [2]
    ),
    "ours": lambda it: unbroken.Schedule(it, unbroken.warmup_cosine(2, 20), {"total": 20}),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_raise_no_alarm(kind: str) -> None:
    """Nested ones, too."""
    model = nn.Linear(4, 4)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    assert [] == told(model, optimizer=optimizer, scheduler=SCHEDULES[kind](optimizer))


@pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")
def test_a_wrapper_of_a_declared_optimizer_raises_no_alarm() -> None:
    """Its groups are the optimizer's own; accelerate hands such a one to the schedule."""

    class Wrapper(optim.Optimizer):
        def __init__(self, wrapped: optim.Optimizer) -> None:
            self.wrapped = wrapped

        def __getattr__(self, name: str) -> Any:
            return getattr(self.wrapped, name)

    model = nn.Linear(4, 4)
    optimizer = optim.Adam(model.parameters())
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.9)
    schedule.optimizer = Wrapper(optimizer)
    assert [] == told(model, optimizer=optimizer, scheduler=schedule)


def test_a_schedule_that_waits_for_scores_raises_no_alarm() -> None:
    """It is declared as a part, and stepped by the loop."""
    model = nn.Linear(4, 4)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    found = told(model, optimizer=optimizer, plateau=plateau, after_step=lambda: plateau.step(1.0))
    assert [] == found


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "vit"])
def test_models_of_transformers_raise_no_alarm(name: str) -> None:
    """With batches of other lengths at each step."""
    transformers = pytest.importorskip("transformers")
    ids = {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}  # fmt: skip
    made: dict[str, Callable[[], Any]] = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, **ids)
        ),
        "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**small, vocab_size=20)),
        "t5": lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(d_model=8, d_ff=8, num_layers=1, num_heads=2, d_kv=4,
                                  decoder_start_token_id=0, **ids)
        ),
        "vit": lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(**small, image_size=8, patch_size=4)
        ),
    }  # fmt: skip
    lengths = iter([3, 5, 4, 7, 9, 6, 3, 8])

    class Batched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made[name]()

        def forward(self, length: int) -> torch.Tensor:
            if name == "vit":
                logits: torch.Tensor = self.inner(pixel_values=torch.randn(2, 3, 8, 8)).logits
                return logits
            tokens = torch.randint(2, 20, (2, length))
            loss: torch.Tensor = self.inner(input_ids=tokens, labels=tokens).loss
            return loss

    assert [] == told(Batched(), lambda: next(lengths))


class Losses:
    """A part that grows by an entry at each step, and saves all of them."""

    def __init__(self) -> None:
        self.seen = [torch.zeros(2)]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = list(state["seen"])


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_list_that_grows_and_is_saved_raises_no_alarm(*, is_declared: bool) -> None:
    """An optimiser of second order that was resumed keeps such lists; one that isn't saved is told."""
    model, losses = nn.Linear(4, 4), Losses()
    if not is_declared:
        losses.state_dict = lambda: {"last": losses.seen[-1]}  # type: ignore[method-assign]
    found = told(model, after_step=lambda: losses.seen.append(torch.randn(2)), losses=losses)
    assert is_declared == (not found)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Keeps:
    """A part that keeps a value and saves it."""

    def __init__(self, value: Any, change: Callable[[Any], Any]) -> None:
        self.value, self.change = value, change

    def step(self) -> None:
        self.value = self.change(self.value)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["kept"]


@pytest.mark.parametrize(
    ("value", "change"),
    [
        pytest.param("a", lambda v: v + "b", id="text"),
        pytest.param(b"a", lambda v: v + b"b", id="bytes"),
        pytest.param(1 + 2j, lambda v: v * 1j + 0.1, id="complex"),
        pytest.param(np.float32(1.5), lambda v: np.float32(v * 1.1), id="numpy scalar"),
        pytest.param(
            Colour.RED, lambda v: Colour.BLUE if v is Colour.RED else Colour.RED, id="enum"
        ),
        pytest.param(
            (Counter("a"), {1}, frozenset()),
            lambda v: (v[0] + Counter("a"), v[1] | {len(v[1]) + 1}, v[2] | {(len(v[2]),)}),
            id="sets",
        ),
    ],
)
def test_values_of_every_kind_that_are_saved_raise_no_alarm(
    value: Any, change: Callable[[Any], Any]
) -> None:
    """They change at each step, and stand in the state under another name."""
    part = Keeps(value, change)
    assert [] == told(nn.Linear(4, 4), after_step=part.step, part=part)


class Remembers(nn.Linear):
    """Keeps its last inputs, and saves them in its extra state as a bare list."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.last: list[float] = []

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.last = [*self.last, float(values.mean())][-50:]
        return super().forward(values)

    def get_extra_state(self) -> list[float]:
        return list(self.last)

    def set_extra_state(self, state: list[float]) -> None:
        self.last = state


def test_extra_state_without_names_raises_no_alarm() -> None:
    """It is what the module saves, whatever it is called."""
    assert [] == told(Remembers())
