"""Parts: what may be declared, under which name, and what is refused before the first step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from support.state_copy import hand_over, restored_otherwise, written_and_read
from unbroken.errors import NotEncodable, StateMismatch
from unbroken.state.parts import named
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState


class Box:
    """Anything with a state."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


class OddTensor(torch.Tensor):
    """A tensor of a class of one's own."""


@pytest.mark.parametrize(
    "name", ["", "a.b", "a b", "../a", "1st", "sums", "gradients", "моя", "état"]
)
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    """A part's name becomes a file's: plain letters, and none of the run's own."""
    with pytest.raises(NotEncodable, match=f"part is named {name!r}"):
        TrainingState({name: Box()}, [])


@pytest.mark.parametrize("thing", [3, "text", object(), [1], {"a": 1}])
def test_a_thing_without_state_is_refused(thing: Any) -> None:
    """What can't be saved is an error when it is declared."""
    with pytest.raises(NotEncodable, match="without state_dict"):
        TrainingState({"thing": thing}, [])


@pytest.mark.parametrize(
    ("declared", "leaf"),
    [
        (Box(deep=[{"odd": object()}]), "part.deep.0.odd"),
        (Box(odd=torch.ones(2).as_subclass(OddTensor)), "part.odd"),
        (nn.ParameterList([torch.ones(2).to(torch.float8_e8m0fnu)]), "part.0"),
        (nn.Linear(2, 2, device="meta"), "part.weight"),
    ],
)
def test_what_cannot_be_saved_is_known_before_the_first_step(declared: Any, leaf: str) -> None:
    """Everything is encoded once at the declaration; the message names the leaf."""
    with pytest.raises(NotEncodable, match=leaf):
        TrainingState({"part": declared}, [])


def test_a_part_that_takes_its_state_apart_leaves_the_saved_one_whole() -> None:
    """A part gets a copy, so that what was saved can still be compared with what arrived."""

    class Greedy(Box):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.state = {"count": state.pop("count"), "list": state.pop("list")}
            self.state["list"].append("lost")

    found = restored_otherwise(
        TrainingState({"part": Box(count=1, list=[2])}, []),
        TrainingState({"part": Greedy(count=0, list=[])}, []),
    )
    assert ("part.list.1: is not in the checkpoint",) == found


@pytest.mark.parametrize(
    ("saved", "live", "leaf"),
    [
        (1, 1.0, "part.x"),
        (1, True, "part.x"),
        ([1], (1,), "part.x"),
        ({"a": {}}, {"a": []}, "part.x.a"),
        ({"a": None}, {}, "part.x.a"),
        (float("nan"), 0.0, "part.x"),
        (0.0, -0.0, "part.x"),
        ({3: 1}, {"3": 1}, "part.x"),
        (torch.zeros(2), torch.zeros(2, 1), "part.x"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32), "part.x"),
        (torch.zeros(2), -torch.zeros(2), "part.x"),
        (torch.zeros(2), 0, "part.x"),
        ([torch.zeros(1)], [torch.zeros(1), torch.zeros(1)], "part.x.1"),
    ],
)
def test_any_leaf_that_did_not_arrive_is_named(saved: Any, live: Any, leaf: str) -> None:
    """A leaf that is lost, cast or replaced on the way in is named."""

    class Changing(Box):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.state = dict.fromkeys(state, live)

    state = TrainingState({"part": Changing(x=None)}, [])
    found = restored_otherwise(TrainingState({"part": Box(x=saved)}, []), state)
    assert any(each.startswith(leaf) for each in found)


def test_a_nan_that_arrived_is_no_difference() -> None:
    """What is not equal to itself still is what was saved."""
    arrived = Box(x=0.0, y=torch.zeros(1))
    state = TrainingState({"part": arrived}, [])
    hand_over(
        TrainingState({"part": Box(x=float("nan"), y=torch.tensor([float("nan")]))}, []), state
    )
    assert state.is_usable
    assert math.isnan(arrived.state["x"])
    assert arrived.state["y"].isnan().all()


def test_a_part_that_raises_leaves_the_state_dead() -> None:
    """After a failure behind the first write, the objects are not whole."""

    class Failing(Box):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise ValueError(f"no {state}")

    state = TrainingState({"part": Failing(x=1)}, [])
    with pytest.raises(StateMismatch, match="'part' did not take its saved state: ValueError: no"):
        hand_over(TrainingState({"part": Box(x=1)}, []), state)
    assert not state.is_usable


def test_gradients_of_no_parameter_are_refused_before_anything_changes() -> None:
    """Partial gradients that fit no parameter are found together with all other differences."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = TrainingState({"model": model, "optimizer": optimizer}, [optimizer])
    saved, _ = written_and_read(state.capture())
    saved["model"][""]["weight"] += 1
    saved["gradients"][""] = {"model.weight": torch.ones(3), "model.other": torch.ones(1)}
    before = model.weight.detach().clone()
    with pytest.raises(StateMismatch) as caught:
        state.restore(saved, Position())
    assert "gradients.model.weight: shape (3,), parameter (1, 2)" in caught.value.what
    assert "gradients.model.other: shape (1,), no parameter" in caught.value.what
    assert torch.equal(before, model.weight)
    assert state.is_usable


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": {"main": Box()}, "scheduler": {"main": Box()}},
        {"model": {"ema": Box()}, "parts": {"ema": Box()}},
    ],
)
def test_two_parts_of_one_name_are_refused(given: Any) -> None:
    """One would be saved in the place of the other, and a resume would find it missing."""
    with pytest.raises(NotEncodable, match="Two parts are named"):
        named(**given)
