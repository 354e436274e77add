"""Every optimiser of the installed PyTorch goes on to the last bit, and none by position."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from support.sameness import same
from support.state_copy import hand_over, written_and_read
from unbroken.errors import NotEncodable, StateMismatch
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState

Make = Callable[[nn.Module], torch.optim.Optimizer]


class Net(nn.Module):
    """Matrices only, or an embedding with sparse gradients beside, as an optimiser wants it."""

    def __init__(self, *, bias: bool = True, sparse: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, sparse=sparse)
        self.one = nn.Linear(4, 4, bias=bias)
        self.two = nn.Linear(4, 4, bias=bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.two(torch.tanh(self.one(self.embedding(ids))))
        return hidden


@dataclass
class Live:
    model: Net
    optimizer: torch.optim.Optimizer
    state: TrainingState

    @classmethod
    def build(cls, make: Make, *, bias: bool = True, sparse: bool = False, seed: int = 0) -> Live:
        torch.manual_seed(seed)
        model = Net(bias=bias, sparse=sparse)
        optimizer = make(model)
        state = TrainingState({"model": model, "optimizer": optimizer}, [optimizer])
        return cls(model, optimizer, state)

    def train(self, first: int, last: int) -> None:
        for number in range(first, last):
            own = torch.Generator().manual_seed(number)
            ids = torch.randint(0, 7, (5,), generator=own)

            def closure(ids: torch.Tensor = ids) -> torch.Tensor:
                self.optimizer.zero_grad(set_to_none=True)
                loss: torch.Tensor = (self.model(ids) - 1.0).square().sum()
                loss.backward()
                return loss

            if isinstance(self.optimizer, torch.optim.LBFGS):
                self.optimizer.step(closure)
            else:
                closure()
                self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def over_all(kind: str, **options: Any) -> Make:
    return lambda model: getattr(torch.optim, kind)(model.parameters(), **options)


def in_groups(model: nn.Module) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": others, "weight_decay": 0.0, "name": "others"},
        {"params": decayed, "lr": torch.tensor(0.02), "name": "decayed"},
    ]
    return torch.optim.AdamW(groups, lr=torch.tensor(0.01), betas=(0.8, 0.9), foreach=False)


CASES: dict[str, tuple[Make, dict[str, bool]]] = {
    "groups with tensor rates": (in_groups, {}),
    "SparseAdam": (
        lambda model: torch.optim.SparseAdam([model.get_parameter("embedding.weight")], lr=0.1),
        {"sparse": True},
    ),
    "Muon": (over_all("Muon", lr=0.02), {"bias": False}),
    "LBFGS": (over_all("LBFGS", lr=0.3, max_iter=3, history_size=4), {}),
    "LBFGS wolfe": (over_all("LBFGS", max_iter=4, line_search_fn="strong_wolfe"), {}),
    "SGD plain": (over_all("SGD", lr=0.1), {}),
    "SGD momentum": (over_all("SGD", lr=0.1, momentum=0.9, dampening=0.1), {}),
    "SGD nesterov fused": (over_all("SGD", lr=0.1, momentum=0.9, nesterov=True, fused=True), {}),
    "RMSprop centered": (over_all("RMSprop", momentum=0.5, centered=True), {}),
    "Adagrad decay": (over_all("Adagrad", lr_decay=0.1, initial_accumulator_value=0.1), {}),
    "Adagrad fused": (over_all("Adagrad", fused=True), {}),
    "Adam amsgrad": (over_all("Adam", lr=0.05, amsgrad=True, weight_decay=0.1), {}),
    "ASGD early": (over_all("ASGD", lr=0.1, t0=2.0), {}),
    **{
        f"{kind} {way}": (over_all(kind, lr=0.05, **{way: True}), {})
        for kind, ways in {
            "Adam": ("fused", "foreach", "maximize"),
            "AdamW": ("fused", "foreach", "amsgrad"),
            "NAdam": ("foreach", "decoupled_weight_decay"),
            "RAdam": ("foreach",),
            "Adamax": ("foreach",),
            "Rprop": ("foreach",),
            "ASGD": ("foreach",),
            "Adafactor": ("foreach",),
            "Adadelta": ("foreach",),
            "RMSprop": ("foreach",),
        }.items()
        for way in ways
    },
}
EVERY = sorted(
    name
    for name in torch.optim.__all__
    if isinstance(found := getattr(torch.optim, name), type)
    and issubclass(found, torch.optim.Optimizer)
    and found is not torch.optim.Optimizer
)
CASES |= {name: (over_all(name), {}) for name in EVERY if name not in CASES}


@pytest.mark.parametrize("name", CASES)
def test_goes_on_to_the_last_bit(name: str) -> None:
    """Stopped after any of the first steps and built anew, training ends where it would have."""
    make, shape = CASES[name]
    whole = Live.build(make, **shape)
    whole.train(0, 7)
    expected = whole.state.capture()
    for stop in (0, 1, 3, 6):
        first = Live.build(make, **shape)
        first.train(0, stop)
        second = Live.build(make, **shape, seed=99)
        hand_over(first.state, second.state)
        second.train(stop, 7)
        assert same(expected, second.state.capture()), f"stopped after {stop} steps"


def test_a_lost_state_would_be_seen() -> None:
    """The comparison above can fail: with its moments dropped, training ends elsewhere."""
    make, shape = CASES["Adam"]
    whole, other = Live.build(make, **shape), Live.build(make, **shape)
    whole.train(0, 7)
    other.train(0, 3)
    other.optimizer.state.clear()
    other.train(3, 7)
    assert not same(whole.state.capture(), other.state.capture())


def swapped(model: nn.Module) -> torch.optim.Optimizer:
    given = dict(model.named_parameters())
    given["one.weight"], given["two.weight"] = given["two.weight"], given["one.weight"]
    return torch.optim.Adam(given.values(), lr=0.05)


def test_parameters_that_changed_places_are_found() -> None:
    """Two parameters of one shape in another order are named, where PyTorch swaps their moments."""
    old, new = Live.build(over_all("Adam", lr=0.05)), Live.build(swapped)
    old.train(0, 3)
    before = written_and_read(new.state.capture())
    with pytest.raises(
        StateMismatch, match=r"optimizer\.groups\.0: the same parameters in another"
    ):
        hand_over(old.state, new.state)
    assert same(before, written_and_read(new.state.capture()))
    new.optimizer.load_state_dict(old.optimizer.state_dict())  # PyTorch sees nothing


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (over_all("Adam"), over_all("AdamW"), "is AdamW, was Adam"),
        (over_all("Adam"), over_all("SGD"), "is SGD, was Adam"),
        (over_all("AdamW"), in_groups, "2 parameter groups, were 1"),
        (
            over_all("AdamW"),
            lambda model: torch.optim.AdamW(model.get_submodule("one").parameters()),
            r"gone \['model.embedding.weight', 'model.two.weight', 'model.two.bias'\]",
        ),
        (
            over_all("AdamW"),
            lambda model: torch.optim.AdamW([{"params": model.parameters(), "name": "all"}]),
            "options differ: {'name'}",
        ),
    ],
)
def test_another_optimiser_is_refused_and_nothing_changed(
    old: Make, new: Make, message: str
) -> None:
    """What doesn't fit is named before anything is touched."""
    first, second = Live.build(old), Live.build(new, seed=5)
    first.train(0, 2)
    before = written_and_read(second.state.capture())
    with pytest.raises(StateMismatch, match=message):
        hand_over(first.state, second.state)
    assert same(before, written_and_read(second.state.capture()))
    assert second.state.is_usable


def test_state_of_another_shape_is_refused() -> None:
    """A moment whose shape is not its parameter's is named by its leaf."""
    live = Live.build(over_all("Adam"))
    live.train(0, 2)
    saved, _ = written_and_read(live.state.capture())
    saved["optimizer"]["state"]["model.one.weight"]["exp_avg"] = torch.zeros(3)
    with pytest.raises(
        StateMismatch, match=r"optimizer\.state\.model\.one\.weight\.exp_avg: shape"
    ):
        live.state.restore(saved, Position())


def test_a_parameter_of_no_declared_model_is_refused() -> None:
    """An optimiser over something that is not saved is an error at the start, not a loss later."""
    stray = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([stray], lr=0.1)
    with pytest.raises(NotEncodable, match="belongs to no declared model"):
        TrainingState({"model": Net(), "optimizer": optimizer}, [optimizer])


def test_a_parameter_that_was_made_anew_is_named() -> None:
    """An optimiser that was built over the one before would train what the model doesn't compute with."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.one.weight = nn.Parameter(model.one.weight.detach().clone())
    with pytest.raises(NotEncodable, match=r"doesn't update model\.one\.weight of this shape"):
        TrainingState({"model": model, "optimizer": optimizer}, [optimizer])


def test_state_under_no_parameter_comes_back() -> None:
    """State that an optimiser keeps under a text or a number is not taken for a parameter's."""
    old, new = Live.build(over_all("SGD", lr=0.1)), Live.build(over_all("SGD", lr=0.1))
    kept = {"average": {"decay": 0.9, "of": torch.arange(3.0)}, 0: {"seen": 7}}
    old.optimizer.state.update(kept)  # type: ignore[arg-type]  # as Shampoo and others do
    hand_over(old.state, new.state)
    assert same(dict(new.optimizer.state), kept)


def test_state_under_a_tensor_of_no_model_is_refused() -> None:
    """State under a tensor that nothing saves is named, not lost."""
    live = Live.build(over_all("SGD", lr=0.1))
    live.optimizer.state[torch.zeros(5)] = {"average": 1.0}
    with pytest.raises(NotEncodable, match=r"under a tensor of shape \(5,\)"):
        live.state.capture()


def test_capturing_before_the_first_step_changes_nothing() -> None:
    """Looking at the state runs no step of the optimiser and makes no moments."""
    live = Live.build(over_all("Adam"))
    for _ in range(2):
        assert {} == live.state.capture()["optimizer"]["state"]


class Recalling(torch.optim.SGD):
    """An optimiser that keeps its last gradients in containers of other kinds."""

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            own = self.state[parameter]
            recent = own.setdefault("recent", deque(maxlen=2))
            own.setdefault("named", OrderedDict())["last"] = (parameter.grad.clone(), 3)
            recent.append(parameter.grad.clone())
            parameter.grad.add_(recent[0], alpha=0.5)
        return super().step(closure)


def test_tensors_in_containers_of_other_kinds_come_back() -> None:
    """State in deques and ordered dicts goes on, with memory of its own."""
    make: Make = lambda model: Recalling(model.parameters(), lr=0.01)  # noqa: E731  # a value
    whole, first, second = Live.build(make), Live.build(make), Live.build(make, seed=3)
    whole.train(0, 6)
    first.train(0, 3)
    hand_over(first.state, second.state)
    second.train(3, 6)
    assert same(whole.state.capture(), second.state.capture())


def test_a_tensor_rate_keeps_its_storage() -> None:
    """A rate that is a tensor, and may be captured in a graph, is written into, not replaced."""
    old, new = Live.build(in_groups), Live.build(in_groups)
    old.optimizer.param_groups[0]["lr"].fill_(0.5)
    rate = new.optimizer.param_groups[0]["lr"]
    hand_over(old.state, new.state)
    assert rate is new.optimizer.param_groups[0]["lr"]
    assert 0.5 == rate.item()
