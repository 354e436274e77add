"""Modules as a part: every tensor, tie, mode and extra state; four errors that name the leaf."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from support.sameness import same
from support.state_copy import hand_over, restored_otherwise, written_and_read
from unbroken.errors import StateMismatch
from unbroken.state.modules import TENSORS, ModulePart
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState


class Rich(nn.Module):
    """A module with everything that a module can hold."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(3)
        self.again = self.norm
        self.rounded = nn.Parameter(torch.rand(2, dtype=torch.bfloat16))
        self.scalar = nn.Parameter(torch.rand(()))
        self.register_buffer("empty", torch.empty(0, 4))
        self.register_buffer("also_empty", torch.empty(0, 4))
        self.register_buffer("spread", torch.rand(3).expand(4, 3))
        self.register_buffer("derived", torch.rand(3), persistent=False)
        self.none = nn.Parameter(torch.rand(1))
        self.register_parameter("none", None)
        self.told: Any = {"seen": seed, "shape": (1, 2)}

    def get_extra_state(self) -> Any:
        return self.told

    def set_extra_state(self, state: Any) -> None:
        self.told = state


class TensorExtra(nn.Linear):
    """Extra state that is a tensor made anew each time, as some accelerators' layers have."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.scale = 1.0

    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor([self.scale], dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.scale = float(state.item())


def state_of(module: nn.Module) -> TrainingState:
    return TrainingState({"model": module}, [])


def test_everything_comes_back_into_the_same_storages() -> None:
    """All of a rich module is restored, in place, without a new tensor."""
    old, new = Rich(1), Rich(2)
    old.told = {"seen": 3, "shape": (7,)}
    places = {
        name: each.data_ptr() for name, each in new.state_dict().items() if name != "_extra_state"
    }
    hand_over(state_of(old), state_of(new))
    assert same(
        written_and_read(state_of(old).capture()), written_and_read(state_of(new).capture())
    )
    assert {"seen": 3, "shape": (7,)} == new.told
    found = {
        name: each.data_ptr() for name, each in new.state_dict().items() if name != "_extra_state"
    }
    assert places == found
    assert new.head.weight is new.embedding.weight


def test_a_tie_is_stored_once_with_its_alias() -> None:
    """A tied weight is one tensor under its first name; empty tensors are no ties."""
    captured = ModulePart("model", Rich()).capture()
    assert {"head.weight": "embedding.weight", "again.weight": "norm.weight"}.items() <= captured[
        "aliases"
    ].items()
    assert "head.weight" not in captured[TENSORS]
    assert {"empty", "also_empty", "embedding.weight"} <= set(captured[TENSORS])
    assert "derived" not in captured[TENSORS]


def test_a_lost_tie_is_found() -> None:
    """A model whose tie was broken is another model, even with equal values."""
    broken = Rich()
    broken.head.weight = nn.Parameter(broken.embedding.weight.detach().clone())
    with pytest.raises(StateMismatch, match="ties are"):
        hand_over(state_of(Rich()), state_of(broken))


def test_extra_state_that_is_a_tensor_is_given_back() -> None:
    """Extra state goes through `set_extra_state`, whatever its type."""
    old, new = TensorExtra(), TensorExtra()
    old.scale = 0.125
    hand_over(state_of(old), state_of(new))
    assert 0.125 == new.scale


def test_the_training_mode_of_each_submodule_comes_back() -> None:
    """A submodule that was frozen in evaluation mode is in it again."""
    old, new = Rich(), Rich()
    old.train()
    old.norm.eval()
    hand_over(state_of(old), state_of(new.eval()))
    assert [True, True, True, False] == [
        each.training for each in (new, new.embedding, new.head, new.norm)
    ]


def test_which_parameters_are_trained_comes_back() -> None:
    """A parameter that was frozen on the way is frozen again."""
    old, new = Rich(), Rich()
    old.head.bias.requires_grad_(False)
    hand_over(state_of(old), state_of(new))
    assert not new.head.bias.requires_grad
    assert new.embedding.weight.requires_grad


def test_wrappers_do_not_change_the_names() -> None:
    """The state of a wrapped module is that of the module: saved bare, restored wrapped."""
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    wrapped = nn.DataParallel(new)
    hand_over(state_of(old), state_of(wrapped))
    assert torch.equal(old.weight, new.weight)
    bare = nn.Linear(2, 2)
    compiled = torch.compile(bare, backend="eager")
    assert isinstance(compiled, nn.Module)
    hand_over(state_of(old), state_of(compiled))
    assert torch.equal(old.weight, bare.weight)


class Narrow(nn.Module):
    def __init__(self, **shapes: Any) -> None:
        super().__init__()
        for name, tensor in shapes.items():
            self.register_parameter(name, nn.Parameter(tensor))


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ({}, r"model\.b: surplus in the checkpoint"),
        ({"b": torch.ones(3), "c": torch.ones(1)}, r"model\.c: missing in the checkpoint"),
        ({"b": torch.ones(1, 3)}, r"model\.b: shape is \(1, 3\), was \(3,\)"),
        ({"b": torch.ones(3).double()}, r"model\.b: dtype is torch\.float64, was torch\.float32"),
    ],
)
def test_four_errors_name_the_leaf_and_change_nothing(
    live: dict[str, torch.Tensor], message: str
) -> None:
    """Missing, surplus, shape and dtype are four errors; not one tensor was written before."""
    old = Narrow(a=torch.full((2,), 5.0), b=torch.full((3,), 6.0))
    new = Narrow(a=torch.zeros(2), **live)
    state = state_of(new)
    before = written_and_read(state.capture())
    with pytest.raises(StateMismatch, match=message):
        hand_over(state_of(old), state)
    assert same(before, written_and_read(state.capture()))
    assert state.is_usable


def test_a_later_part_that_does_not_fit_leaves_the_earlier_ones_alone() -> None:
    """All parts are compared before any is touched."""
    old = TrainingState({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)}, [])
    first = nn.Linear(2, 2)
    new = TrainingState({"first": first, "second": nn.Linear(3, 2)}, [])
    before = first.weight.detach().clone()
    with pytest.raises(StateMismatch, match=r"second\.weight"):
        hand_over(old, new)
    assert torch.equal(before, first.weight)


def test_missing_and_surplus_parts_are_named() -> None:
    """A part that is in one but not in the other is an error by its name."""
    old = TrainingState({"model": nn.Linear(2, 2), "ema": nn.Linear(2, 2)}, [])
    new = TrainingState({"model": nn.Linear(2, 2), "swa": nn.Linear(2, 2)}, [])
    with pytest.raises(StateMismatch) as caught:
        hand_over(old, new)
    assert "run.swa: missing in the checkpoint" in caught.value.what
    assert "run.ema: surplus in the checkpoint" in caught.value.what


class Forgetful(nn.Linear):
    """A module that loads nothing."""

    def load_state_dict(self, *_args: Any, **_kwargs: Any) -> Any:
        return None


def test_a_restore_that_did_not_arrive_is_found() -> None:
    """The live objects are looked at again: a module that loads nothing is seen by its leaves."""
    found = restored_otherwise(state_of(nn.Linear(2, 2)), state_of(Forgetful(2, 2)))
    assert any(each.startswith("model.weight: has other content") for each in found)


def test_a_hostile_state_changes_nothing() -> None:
    """A saved state without its parts of our own is refused by name."""
    state = state_of(nn.Linear(2, 2))
    saved, _ = written_and_read(state.capture())
    del saved["gradients"]
    with pytest.raises(StateMismatch, match=r"run\.gradients: missing"):
        state.restore(saved, Position())
